//! Where a run comes from, and its config.

use super::html::table;
use super::run::Run;

/// The config, key by key.
pub fn config(run: &Run) -> String {
    let rows = run.settings.iter();
    let rows = rows.map(|(key, value)| vec![key.clone(), value.clone()]);
    table(&["key", "value"], &rows.collect::<Vec<_>>())
}

/// Where a run comes from.
pub fn origin(run: &Run) -> String {
    let record = &run.record;
    let machine = &record.machine;
    let pairs = [
        ("start", Some(record.start.clone())),
        ("end", record.end.clone()),
        ("version", Some(record.version.clone())),
        ("commit", record.commit.clone()),
        ("Burn", Some(record.burn.clone())),
        (
            "machine",
            Some(format!(
                "{} {}, {} threads",
                machine.os, machine.architecture, machine.threads
            )),
        ),
        ("devices", Some(devices(&record.devices))),
        ("seed", Some(record.seed.to_string())),
        ("trainable parameters", Some(record.parameters.to_string())),
    ];
    let pairs = pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let agreed = record
        .agreement
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()));
    let rows = pairs.chain(agreed).map(|(name, value)| vec![name, value]);
    table(&[], &rows.collect::<Vec<_>>())
}

/// `4 x flex`: devices, each once.
fn devices(devices: &[String]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for device in devices {
        match counts.iter_mut().find(|(known, _)| known == device) {
            Some((_, count)) => *count += 1,
            None => counts.push((device, 1)),
        }
    }
    let shown = counts.iter().map(|(device, count)| match count {
        1 => (*device).to_owned(),
        count => format!("{count} × {device}"),
    });
    shown.collect::<Vec<_>>().join(", ")
}
