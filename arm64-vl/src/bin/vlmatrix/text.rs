// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause

//! Tables that a person can read.

use crate::answers::{FitAnswer, PoolAnswer, StateAnswer};
use arm64_vl::{
    printable, register_name, CommonVcpu, Config, Error, Lengths, Machine, Matrix, Pair, Presence,
    Section, Size, ThreadView, VectorView, Vectors,
};

fn yes_no(yes: bool) -> &'static str {
    if yes {
        "yes"
    } else {
        "no"
    }
}

fn or_none(length: Option<u32>) -> String {
    length.map_or("none".into(), |length| length.to_string())
}

/// The lengths of processes and vCPUs, and the pairs.
pub fn machine(machine: &Machine) -> String {
    let mut lines = vec![printable(&machine.name), String::new()];
    let process = |Vectors {
                       lengths, default, ..
                   }: Vectors| match default {
        Some(default) => format!("{lengths}, {default} to begin with"),
        None => lengths.to_string(),
    };
    let vcpu = |lengths: fn(&arm64_vl::Offer) -> Lengths| {
        let lengths = machine.kvm.as_ref().map(lengths);
        lengths.unwrap_or_default().to_string()
    };
    let host = &machine.host;
    let offer = machine.kvm.clone().unwrap_or_default();
    for (name, process, vcpu) in [
        ("SVE", process(host.sve), vcpu(|offer| offer.sve)),
        ("SME", process(host.sme), vcpu(|offer| offer.sme)),
        ("SME2", yes_no(host.sme2).into(), yes_no(offer.sme2).into()),
        ("FA64", yes_no(host.fa64).into(), yes_no(offer.fa64).into()),
    ] {
        lines.push(format!("{name:6}process  {process}"));
        lines.push(format!("{:6}vCPU     {vcpu}", ""));
    }
    lines.extend(
        machine
            .missing
            .iter()
            .map(|what| format!("missing: {}", printable(what))),
    );
    if machine.kvm.is_some() {
        lines.push(String::new());
        lines.extend(pairs(&Matrix::of(&offer)));
    }
    lines.join("\n") + "\n"
}

/// A row for each greatest SVE length, a column for each of SME.
fn pairs(matrix: &Matrix) -> Vec<String> {
    let row = |head: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>6}")).collect();
        format!("{head:>6}{cells}")
    };
    let mut lines = vec![
        "The greatest length in common of a vCPU, by its greatest SVE length (down) and SME length (across):"
            .to_string(),
        row("", matrix.columns().map(or_none).collect()),
    ];
    for sve in matrix.rows() {
        let common = |sme| matrix.common(sve, sme).greatest();
        let cell = |sme| common(sme).map_or("-".into(), |length: u32| length.to_string());
        lines.push(row(&or_none(sve), matrix.columns().map(cell).collect()));
    }
    lines
}

/// What became of the attempts to make a vCPU of each pair.
pub fn tried(attempts: Option<&[(Pair, Option<Error>)]>) -> String {
    let Some(attempts) = attempts else {
        return String::new();
    };
    let refused = attempts.iter().filter_map(|(pair, error)| {
        let pair = format!("SVE {} and SME {}", or_none(pair.sve), or_none(pair.sme));
        Some(format!("refused: {pair}: {}\n", error.as_ref()?))
    });
    let good = attempts.iter().filter(|(_, error)| error.is_none()).count();
    let text: String = refused.collect();
    format!("{text}\nKVM takes {good} of {} pairs\n", attempts.len())
}

/// A vCPU in a line.
fn config(config: &Config) -> String {
    let Config {
        sve,
        sme,
        sme2,
        fa64,
    } = config;
    let mut text = format!("SVE {sve}; SME {sme}");
    if *sme2 {
        text += ", SME2";
    }
    if *fa64 {
        text += ", FA64";
    }
    text
}

/// The vCPU of a pool.
pub fn pool(answer: &PoolAnswer) -> String {
    let sure = answer.registers.as_ref().is_some_and(CommonVcpu::is_whole);
    let head = match sure {
        true => "runs on all",
        false => "vectors that all have",
    };
    let mut lines = vec![format!("{head}: {}", config(&answer.pool))];
    for machine in &answer.machines {
        let name = printable(&machine.name);
        let without = machine.without.as_ref();
        lines.extend(without.map(|pool| format!("    without {name}: {}", config(pool))));
    }
    for blame in &answer.blame {
        lines.push(format!("    {}", printable(&blame.to_string())));
    }
    for group in &answer.groups {
        let names: Vec<_> = group.hosts.iter().map(|name| printable(name)).collect();
        lines.push(format!(
            "group {}: {}",
            names.join(" "),
            config(&group.config)
        ));
    }
    if let Some(common) = &answer.registers {
        lines.extend(registers(common));
    }
    if let Some(reason) = &answer.not_compared {
        lines.push(format!("    registers not compared: {}", printable(reason)));
    }
    if let Some(wanted) = &answer.wanted {
        lines.push(format!("wanted:      {}", config(wanted)));
        for machine in &answer.machines {
            let reasons: Vec<_> = machine.why_not.iter().map(ToString::to_string).collect();
            let verdict = if reasons.is_empty() {
                "runs".into()
            } else {
                reasons.join(", ")
            };
            lines.push(format!("    {}: {verdict}", printable(&machine.name)));
        }
    }
    lines.join("\n") + "\n"
}

/// What a VMM sets in a vCPU of a pool, and what it cannot.
fn registers(common: &CommonVcpu) -> Vec<String> {
    let set = common.set.iter();
    let mut lines: Vec<_> = set
        .map(|(id, value)| format!("    set {} to {value:#018x}", register_name(*id)))
        .collect();
    for (name, fit) in common.fits.iter().filter(|(_, fit)| !fit.is_whole()) {
        let text = fit.to_string();
        let blocks = text
            .lines()
            .filter(|line| !line.starts_with("lowered") && !line.starts_with("harmless"));
        lines.extend(blocks.map(|line| format!("    {}: {line}", printable(name))));
    }
    lines
}

/// How much state a vCPU has.
pub fn state(answer: &StateAnswer) -> String {
    let row =
        |name: &str,
         Size {
             registers,
             bytes,
             significant,
             ..
         }: &Size| { format!("{name:<18}{registers:>10}{bytes:>10}{significant:>13}") };
    let mut lines = vec![
        config(&answer.config),
        format!(
            "{:18}{:>10}{:>10}{:>13}",
            "", "registers", "bytes", "significant"
        ),
    ];
    for mode in &answer.modes {
        let name = format!(
            "vectors SM {} ZA {}",
            mode.svcr.sm as u8, mode.svcr.za as u8
        );
        lines.push(row(&name, &mode.vectors));
    }
    lines.extend(answer.others.iter().map(|others| row("all others", others)));
    let sum = match answer.others {
        Some(_) => "greatest sum",
        None => "greatest vectors",
    };
    lines.push(row(sum, &answer.greatest));
    lines.push(match answer.list_bytes {
        Some(bytes) => format!(
            "struct kvm_reg_list: {bytes} bytes at most, for a vCPU without a PMU and EL2"
        ),
        None => format!(
            "struct kvm_reg_list: {} bytes at most for vector registers alone; the others are not known here",
            answer.greatest.registers * size_of::<u64>()
        ),
    });
    lines.join("\n") + "\n"
}

/// How a saved vCPU fits machines.
pub fn fits(answers: &[FitAnswer]) -> String {
    let one = |answer: &FitAnswer| {
        let verdict = match (answer.whole, answer.fit.is_tolerable()) {
            (true, _) => "takes it",
            (_, true) => "takes it, if what is harmless is tolerated",
            _ => "does not take it",
        };
        let lines = answer.fit.to_string();
        let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
        format!("{} {verdict}\n{lines}", printable(&answer.name))
    };
    answers.iter().map(one).collect()
}

/// What differs.
pub fn sections(sections: &[Section]) -> String {
    sections.iter().map(ToString::to_string).collect()
}

/// The threads of a process.
pub fn threads(threads: &[ThreadView]) -> String {
    let view = |name: &str, view: &VectorView| {
        let presence = match view.presence {
            Presence::Off => "off",
            Presence::Fpsimd => "V alone",
            _ => "there",
        };
        format!(
            "    {name:5}{:>4} of {:>3} bytes, {presence}, {} of {} bytes of state{}\n",
            view.length,
            view.greatest,
            view.size,
            view.greatest_size,
            if view.inherit { ", inherited" } else { "" }
        )
    };
    let thread = |thread: &ThreadView| {
        let mode = if thread.streaming {
            "in streaming mode"
        } else {
            "not in streaming mode"
        };
        let mut text = format!("thread {}: {mode}\n", thread.tid);
        for (name, kind) in [
            ("SVE", thread.sve),
            ("SSVE", thread.ssve),
            ("ZA", thread.za),
        ] {
            text += &kind.map_or(format!("    {name:5}not on this machine\n"), |kind| {
                view(name, &kind)
            });
        }
        let number =
            |name, value: Option<u64>| value.map(|value| format!("    {name} {value:#x}\n"));
        text.extend(
            thread
                .zt_size
                .map(|size| format!("    ZT0  {size} bytes\n")),
        );
        text.extend(number("FPMR", thread.fpmr));
        text.extend(number("TPIDR2", thread.tpidr2));
        text.extend(number("tagged address control", thread.tagged_addr_ctrl));
        let lost = thread.lost_with_fpsimd();
        if !lost.is_empty() {
            text += &format!(
                "    a checkpoint that knows NT_PRFPREG alone loses {}\n",
                lost.join("; ")
            );
        }
        text
    };
    threads.iter().map(thread).collect()
}
