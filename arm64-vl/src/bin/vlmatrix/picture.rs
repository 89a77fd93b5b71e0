// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The pairs as an SVG picture: the more lengths in common, the darker.

use arm64_vl::{printable, Machine, Matrix};
use std::fmt::Write;

/// Pixels.
const CELL: (usize, usize) = (64, 24);
const LEFT: usize = 110;
const TOP: usize = 84;

const SUBTITLE: &str = "by its greatest SVE length (down) and SME length (across), in bytes";

/// The colours of cells without a length in common and with the most: red, green and blue. Black text can be read
/// on both. In hexadecimal digits, which every renderer knows.
const COLOURS: [[usize; 3]; 2] = [[0xee, 0xf4, 0xfb], [0x3b, 0x88, 0xd4]];

fn colour(part: usize, of: usize) -> String {
    let [from, to] = COLOURS;
    let mix = |(from, to): (usize, usize)| format!("{:02x}", (from * (of - part) + to * part) / of);
    let digits: String = from.into_iter().zip(to).map(mix).collect();
    format!("#{digits}")
}

/// Pixels that a line of text takes at most, in the widest of the usual fonts.
fn width_of(text: &str) -> usize {
    let width = |c: char| match c {
        'A'..='Z' | 'm' | 'w' | '@' | '%' => 13,
        _ if c.is_ascii() => 9,
        _ => 15,
    };
    text.chars().map(width).sum()
}

/// Text in XML.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

/// The picture of a machine. Without KVM there is the name, and why there is no more.
pub fn svg(machine: &Machine) -> String {
    let matrix = Matrix::of(&machine.kvm.clone().unwrap_or_default());
    let (rows, columns): (Vec<_>, Vec<_>) = (matrix.rows().collect(), matrix.columns().collect());
    let (cell, line) = CELL;
    let title = format!(
        "{}: the greatest vector length in common of a vCPU",
        printable(&machine.name)
    );
    let missing = printable(&machine.missing.join("; "));
    let texts = [
        &title[..],
        SUBTITLE,
        if machine.kvm.is_none() { &missing } else { "" },
    ];
    let text_width = texts.into_iter().map(width_of).max().unwrap_or(0);
    let (width, height) = (
        (LEFT + columns.len() * cell).max(12 + text_width) + 20,
        TOP + rows.len() * line + 20,
    );
    let most = matrix
        .pairs()
        .map(|pair| pair.common.len())
        .max()
        .unwrap_or(0)
        .max(1);
    let head = |length: Option<u32>| length.map_or("none".into(), |length| length.to_string());

    let mut body = String::new();
    let mut text = |x: usize, y: usize, anchor: &str, what: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(
            body,
            r#"<text x="{x}" y="{y}" text-anchor="{anchor}">{}</text>"#,
            escaped(what)
        );
    };
    text(12, 22, "start", &title);
    text(12, 42, "start", SUBTITLE);
    if machine.kvm.is_none() {
        text(12, 70, "start", &missing);
    } else {
        for (n, sme) in columns.iter().enumerate() {
            text(LEFT + n * cell + cell / 2, TOP - 8, "middle", &head(*sme));
        }
        for (n, sve) in rows.iter().enumerate() {
            text(LEFT - 10, TOP + n * line + 17, "end", &head(*sve));
        }
    }
    for (row, sve) in rows.iter().enumerate().filter(|_| machine.kvm.is_some()) {
        for (column, sme) in columns.iter().enumerate() {
            let common = matrix.common(*sve, *sme);
            let (x, y) = (LEFT + column * cell, TOP + row * line);
            let what = common
                .greatest()
                .map_or("-".into(), |length| length.to_string());
            let _ = writeln!(
                body,
                r#"<rect x="{x}" y="{y}" width="{}" height="{}" fill="{}"><title>{}</title></rect>
            <text x="{}" y="{}" text-anchor="middle">{what}</text>"#,
                cell - 2,
                line - 2,
                colour(common.len(), most),
                escaped(&format!("in common: {common}")),
                x + cell / 2 - 1,
                y + 16,
            );
        }
    }
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="white"/>
{body}</svg>
"#
    )
}
