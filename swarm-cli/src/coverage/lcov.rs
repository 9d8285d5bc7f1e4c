//! Tracefiles of lcov, many into one: hits of one line, function or branch are added up. Pure.
//!
//! The format is that of geninfo(1), with the records of lcov 2 (`FNL`, `FNA`) understood and written as the older ones.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

/// The coverage of many sources.
#[derive(Debug, Default)]
pub struct Tracefile {
    sources: BTreeMap<String, Source>,
}

#[derive(Debug, Default)]
struct Source {
    /// By line: how often it was run, and the checksum of its text where that is told.
    lines: BTreeMap<u32, (u64, Option<String>)>,
    functions: BTreeMap<String, Function>,
    /// By line, block and branch; a branch whose condition was never looked at has none.
    branches: BTreeMap<(u32, String, String), Option<u64>>,
}

#[derive(Debug, Default)]
struct Function {
    /// The first line, and the last where that is told.
    place: Option<(u32, Option<u32>)>,
    hits: u64,
}

/// What of a tracefile makes no sense.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {number} is no record of lcov: {text}")]
pub struct LcovError {
    number: usize,
    text: String,
}

impl Tracefile {
    /// Adds what another run has covered. Nothing of a text that makes no sense is added.
    pub fn add(&mut self, text: &str) -> Result<(), LcovError> {
        let mut read = Reader::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_end();
            let refuse = || LcovError { number: at + 1, text: line.chars().take(80).collect() };
            read.line(line).ok_or_else(refuse)?;
        }
        if let Some((name, _)) = &read.open {
            let text = format!("the file ends within the record of {name}");
            return Err(LcovError { number: read.seen, text });
        }
        for (name, source) in read.ended {
            self.sources.entry(name).or_default().add(source);
        }
        Ok(())
    }

    /// How many sources there are.
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// All of it as a tracefile.
    pub fn write(&self) -> String {
        let mut out = String::new();
        for (name, source) in &self.sources {
            let _ = writeln!(out, "TN:\nSF:{name}");
            source.write(&mut out);
            out.push_str("end_of_record\n");
        }
        out
    }
}

/// One tracefile while it is read.
#[derive(Default)]
struct Reader {
    open: Option<(String, Source)>,
    /// Of lcov 2: functions by their number in the record.
    numbered: HashMap<String, (u32, Option<u32>)>,
    ended: Vec<(String, Source)>,
    seen: usize,
}

impl Reader {
    /// `None`: it makes no sense here.
    fn line(&mut self, line: &str) -> Option<()> {
        self.seen += 1;
        if line.is_empty() || line.starts_with('#') {
            return Some(());
        }
        if line == "end_of_record" {
            self.numbered.clear();
            self.ended.push(self.open.take()?);
            return Some(());
        }
        let (key, value) = line.split_once(':')?;
        match (key, &mut self.open) {
            // Names of tests, versions, and sums, which are made anew.
            ("TN" | "VER" | "LF" | "LH" | "FNF" | "FNH" | "BRF" | "BRH" | "MCF" | "MCH" | "MCDC", _) => {}
            ("SF", open @ None) => *open = Some((value.to_owned(), Source::default())),
            (_, Some((_, source))) => source.record(key, value, &mut self.numbered)?,
            _ => return None,
        }
        Some(())
    }
}

impl Source {
    fn record(
        &mut self,
        key: &str,
        value: &str,
        numbered: &mut HashMap<String, (u32, Option<u32>)>,
    ) -> Option<()> {
        match key {
            "DA" => {
                let mut fields = value.splitn(3, ',');
                let line = fields.next()?.parse().ok()?;
                let hits = hits(fields.next()?)?;
                let known = self.lines.entry(line).or_default();
                known.0 = known.0.saturating_add(hits);
                known.1 = known.1.take().or_else(|| fields.next().map(str::to_owned));
            }
            "FN" => {
                let (first, rest) = value.split_once(',')?;
                let last = rest.split_once(',').and_then(|(last, name)| Some((last.parse().ok()?, name)));
                let (last, name) = last.map_or((None, rest), |(last, name)| (Some(last), name));
                self.function(name).place = Some((first.parse().ok()?, last));
            }
            "FNDA" => {
                let (count, name) = value.split_once(',')?;
                let count = hits(count)?;
                self.function(name).hit(count);
            }
            "FNL" => {
                let mut fields = value.splitn(3, ',');
                let number = fields.next()?.to_owned();
                let first = fields.next()?.parse().ok()?;
                numbered.insert(number, (first, fields.next().and_then(|last| last.parse().ok())));
            }
            "FNA" => {
                let mut fields = value.splitn(3, ',');
                let place = *numbered.get(fields.next()?)?;
                let count = hits(fields.next()?)?;
                let function = self.function(fields.next()?);
                function.place = Some(place);
                function.hit(count);
            }
            "BRDA" => {
                let (line, rest) = value.split_once(',')?;
                let (rest, taken) = rest.rsplit_once(',')?;
                let (block, branch) = rest.split_once(',')?;
                let taken = if taken == "-" { None } else { Some(hits(taken)?) };
                let key = (line.parse().ok()?, block.to_owned(), branch.to_owned());
                let known = self.branches.entry(key).or_default();
                *known = sum(*known, taken);
            }
            _ => return None,
        }
        Some(())
    }

    fn function(&mut self, name: &str) -> &mut Function {
        self.functions.entry(name.to_owned()).or_default()
    }

    fn add(&mut self, other: Self) {
        for (line, (count, checksum)) in other.lines {
            let known = self.lines.entry(line).or_default();
            known.0 = known.0.saturating_add(count);
            known.1 = known.1.take().or(checksum);
        }
        for (name, function) in other.functions {
            let known = self.functions.entry(name).or_default();
            known.place = known.place.or(function.place);
            known.hit(function.hits);
        }
        for (branch, taken) in other.branches {
            let known = self.branches.entry(branch).or_default();
            *known = sum(*known, taken);
        }
    }

    fn write(&self, out: &mut String) {
        for (name, function) in &self.functions {
            match function.place {
                Some((first, Some(last))) => writeln!(out, "FN:{first},{last},{name}"),
                Some((first, None)) => writeln!(out, "FN:{first},{name}"),
                None => Ok(()),
            }
            .unwrap_or_default();
        }
        for (name, function) in &self.functions {
            let _ = writeln!(out, "FNDA:{},{name}", function.hits);
        }
        let hit = self.functions.values().filter(|function| function.hits > 0).count();
        let _ = writeln!(out, "FNF:{}\nFNH:{hit}", self.functions.len());
        for ((line, block, branch), taken) in &self.branches {
            let taken = taken.map_or_else(|| "-".to_owned(), |taken| taken.to_string());
            let _ = writeln!(out, "BRDA:{line},{block},{branch},{taken}");
        }
        if !self.branches.is_empty() {
            let hit = self.branches.values().filter(|taken| taken.is_some_and(|taken| taken > 0)).count();
            let _ = writeln!(out, "BRF:{}\nBRH:{hit}", self.branches.len());
        }
        for (line, (count, checksum)) in &self.lines {
            let checksum = checksum.as_ref().map(|checksum| format!(",{checksum}")).unwrap_or_default();
            let _ = writeln!(out, "DA:{line},{count}{checksum}");
        }
        let hit = self.lines.values().filter(|(count, _)| *count > 0).count();
        let _ = writeln!(out, "LF:{}\nLH:{hit}", self.lines.len());
    }
}

impl Function {
    fn hit(&mut self, count: u64) {
        self.hits = self.hits.saturating_add(count);
    }
}

/// Some tools write counts as `1e+10`, or negative ones when a counter has overflowed.
fn hits(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| text.parse::<f64>().ok().map(|count| count.max(0.0) as u64))
}

fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "\
TN:unit
SF:src/a.c
FN:3,main
FN:9,12,other
FNDA:1,main
FNDA:0,other
FNF:2
FNH:1
BRDA:4,0,0,1
BRDA:4,0,1,-
DA:3,1
DA:4,1,abc
DA:9,0
LF:3
LH:2
end_of_record
";

    fn merged(texts: &[&str]) -> String {
        let mut tracefile = Tracefile::default();
        texts.iter().for_each(|text| tracefile.add(text).unwrap());
        tracefile.write()
    }

    #[test]
    fn hits_are_added_up_and_sums_made_anew() {
        let second = "SF:src/b.c\nDA:1,0\nend_of_record\n\
            SF:src/a.c\nFNL:0,9,12\nFNA:0,5,other\nBRDA:4,0,1,2\nDA:9,5\nDA:10,1\nend_of_record\n";
        insta::assert_snapshot!(merged(&[FIRST, second]), @r"
        TN:
        SF:src/a.c
        FN:3,main
        FN:9,12,other
        FNDA:1,main
        FNDA:5,other
        FNF:2
        FNH:2
        BRDA:4,0,0,1
        BRDA:4,0,1,2
        BRF:2
        BRH:2
        DA:3,1
        DA:4,1,abc
        DA:9,5
        DA:10,1
        LF:4
        LH:4
        end_of_record
        TN:
        SF:src/b.c
        FNF:0
        FNH:0
        DA:1,0
        LF:1
        LH:0
        end_of_record
        ");
    }

    #[test]
    fn the_order_of_tracefiles_makes_no_difference() {
        let second = "SF:src/a.c\nFNDA:2,main\nBRDA:4,0,0,-\nDA:3,18446744073709551615\nend_of_record\n";
        let merged_once = merged(&[FIRST, second]);
        assert_eq!(merged_once, merged(&[second, FIRST]));
        assert!(merged_once.contains("DA:3,18446744073709551615"), "no sum wraps");
        assert_eq!(merged(&[&merged_once]), merged_once, "what is written reads the same");
    }

    #[test]
    fn what_is_no_tracefile_is_refused_with_its_line() {
        let refused = |text: &str| {
            let mut tracefile = Tracefile::default();
            let error = tracefile.add(text).unwrap_err().to_string();
            assert_eq!(tracefile.sources(), 0, "nothing of it is kept");
            error
        };
        assert_eq!(refused("SF:a\nDA:x,1\nend_of_record"), "line 2 is no record of lcov: DA:x,1");
        assert_eq!(refused("DA:1,1"), "line 1 is no record of lcov: DA:1,1");
        assert!(refused("SF:a\nDA:1,1\n").contains("ends within the record of a"));
        assert!(refused("\u{0}binary").starts_with("line 1 "));
    }
}
