// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! The pairs as an SVG picture: the more lengths in common, the darker.

use arm64_vl::{Machine, Matrix};
use std::fmt::Write;

/// Pixels.
const CELL: (usize, usize) = (64, 24);
const LEFT: usize = 110;
const TOP: usize = 84;

/// Text in XML.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
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
    let matrix = Matrix::of(&machine.kvm.unwrap_or_default());
    let (rows, columns): (Vec<_>, Vec<_>) = (matrix.rows().collect(), matrix.columns().collect());
    let (cell, line) = CELL;
    let (width, height) = (
        LEFT + columns.len().max(6) * cell + 20,
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
    text(
        12,
        22,
        "start",
        &format!(
            "{}: the greatest vector length in common of a vCPU",
            machine.name
        ),
    );
    text(
        12,
        42,
        "start",
        "by its greatest SVE length (down) and SME length (across), in bytes",
    );
    if machine.kvm.is_none() {
        text(12, 70, "start", &machine.missing.join("; "));
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
            let light = 96 - 46 * common.len() / most;
            let what = common
                .greatest()
                .map_or("-".into(), |length| length.to_string());
            let _ = writeln!(
                body,
                r#"<rect x="{x}" y="{y}" width="{}" height="{}" fill="hsl(210 60% {light}%)"><title>{}</title></rect>
<text x="{}" y="{}" text-anchor="middle">{what}</text>"#,
                cell - 2,
                line - 2,
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
