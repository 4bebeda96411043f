//! Templates as their owner writes them.

use std::{collections::BTreeMap, time::Duration};

use globset::{GlobBuilder, GlobSetBuilder};
use serde::Deserialize;

use super::{Group, Hole, Kind, Own, Part, Template};

/// A training may take days, but not for ever.
const TIME_LIMIT: Duration = Duration::from_hours(24);

/// A batch of a large model takes this long.
pub(in crate::jobs) const STOP_GRACE: Duration = Duration::from_secs(30);

/// Loading data and compiling a model take this long.
pub(in crate::jobs) const SILENT_AFTER: Duration = Duration::from_mins(2);

/// All that a program prints within days is wanted, what it prints in a loop that never ends is not.
const OUTPUT_LIMIT_MIB: u64 = 8 * 1024;

/// The values that say how many epochs there are to be, where the owner names none.
const EPOCHS: [&str; 2] = ["epochs", "max_epochs"];

/// Why the templates cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{job}: {why}")]
pub struct TemplateError {
    /// Which: `[[job]] 2 ("train")`.
    pub job: String,
    /// What is wrong with it, and what is accepted.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    help: String,
    run: Vec<WrittenArgument>,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    set: BTreeMap<String, String>,
    #[serde(default = "one")]
    gpus: u32,
    #[serde(default)]
    epochs: Option<String>,
    #[serde(default)]
    output_limit_mib: Option<u64>,
    #[serde(default)]
    time_limit: Option<String>,
    #[serde(default)]
    stop_grace: Option<String>,
    #[serde(default)]
    silent_after: Option<String>,
    #[serde(default)]
    results: Vec<String>,
}

/// An argument, or several that stand or fall together.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an argument in run is a text or an array of texts")]
enum WrittenArgument {
    One(String),
    Optional(Vec<String>),
}

impl WrittenArgument {
    fn group(&self) -> Result<Group, String> {
        let (texts, optional) = match self {
            Self::One(text) => (std::slice::from_ref(text), false),
            Self::Optional(texts) => (texts.as_slice(), true),
        };
        let arguments: Vec<_> = texts.iter().map(|text| parts(text)).collect::<Result<_, _>>()?;
        let mut holes: Vec<_> = arguments.iter().flatten().filter_map(hole_name).collect();
        holes.sort_unstable();
        holes.dedup();
        match holes.len() {
            _ if !optional => {}
            1 => {}
            0 => return Err(format!("{texts:?} in run has no value that could be left out")),
            _ => return Err(format!("{texts:?} in run has several values; write one array each")),
        }
        let flag = |part: &Part| matches!(part, Part::Hole(hole) if hole.kind == Kind::Flag);
        if !optional && arguments.iter().flatten().any(flag) {
            return Err(format!("{:?} in run: a flag stands in an array of its own", texts[0]));
        }
        Ok(Group { arguments, optional })
    }
}

fn hole_name(part: &Part) -> Option<&str> {
    match part {
        Part::Hole(hole) => Some(&hole.name),
        _ => None,
    }
}

fn one() -> u32 {
    1
}

/// Makes templates of the value of the key `job`.
pub fn read_templates(jobs: &toml::Value) -> Result<Vec<Template>, TemplateError> {
    let wrong = |job: String, why: String| TemplateError { job, why };
    let Some(tables) = jobs.as_array() else {
        return Err(wrong("job".to_owned(), "write one [[job]] for each template".to_owned()));
    };
    let mut templates: Vec<Template> = Vec::new();
    for (number, table) in tables.iter().enumerate() {
        let place = match table.get("name").and_then(toml::Value::as_str) {
            Some(name) => format!("[[job]] {} ({name:?})", number + 1),
            None => format!("[[job]] {}", number + 1),
        };
        let template = Written::deserialize(table.clone())
            .map_err(|error| error.message().to_owned())
            .and_then(template)
            .map_err(|why| wrong(place.clone(), why))?;
        if templates.iter().any(|other| other.name == template.name) {
            return Err(wrong(place, "another one has this name already".to_owned()));
        }
        templates.push(template);
    }
    Ok(templates)
}

fn template(written: Written) -> Result<Template, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let name = &written.name;
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
        return Err("the name is made of 1 to 64 of A-Z, a-z, 0-9, - _ and .".to_owned());
    }
    let run: Vec<_> = written.run.iter().map(WrittenArgument::group).collect::<Result<_, _>>()?;
    match run.first().map(|group| (group.optional, group.arguments.as_slice())) {
        None => return Err("run needs at least the program".to_owned()),
        Some((false, [argument])) if matches!(&argument[..], [Part::Text(program)] if !program.is_empty()) =>
            {}
        Some(_) => return Err("the program in run is a plain word, without { }".to_owned()),
    }
    let cwd = written.cwd.as_deref().map(parts).transpose()?;
    let set = written.set.iter().map(|(name, text)| Ok((name.clone(), parts(text)?)));
    let set: BTreeMap<_, _> = set.collect::<Result<_, String>>()?;
    let arguments = run.iter().flat_map(Group::parts);
    same_everywhere(arguments.chain(set.values().chain(&cwd).flatten()))?;
    let holes = run.iter().flat_map(Group::parts).chain(set.values().chain(&cwd).flatten());
    let epochs = epochs(written.epochs, holes)?;
    let output_limit = match written.output_limit_mib.unwrap_or(OUTPUT_LIMIT_MIB) {
        0 => return Err("output_limit_mib is 0; accepted is a number from 1".to_owned()),
        mib => mib.saturating_mul(1024 * 1024),
    };
    let mut results = GlobSetBuilder::new();
    for pattern in &written.results {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        results.add(glob.map_err(|error| format!("results has {pattern:?}: {error}"))?);
    }
    Ok(Template {
        run,
        set,
        name: written.name,
        help: written.help,
        cwd,
        env: written.env,
        gpus: written.gpus,
        epochs,
        output_limit,
        time_limit: time("time_limit", written.time_limit, TIME_LIMIT)?,
        stop_grace: time("stop_grace", written.stop_grace, STOP_GRACE)?,
        silent_after: time("silent_after", written.silent_after, SILENT_AFTER)?,
        results: results.build().map_err(|error| format!("results: {error}"))?,
    })
}

fn time(key: &str, text: Option<String>, standard: Duration) -> Result<Duration, String> {
    let Some(text) = text else { return Ok(standard) };
    let bad = || format!("{key} is {text:?}; accepted is a duration like 30s, 10m or 24h");
    humantime::parse_duration(&text).ok().filter(|time| !time.is_zero()).ok_or_else(bad)
}

/// The hole that says how many epochs there are to be: the one named, else one of the usual name.
fn epochs<'a>(
    named: Option<String>,
    parts: impl Iterator<Item = &'a Part>,
) -> Result<Option<String>, String> {
    let counts = |part: &'a Part| match part {
        Part::Hole(Hole { name, kind: Kind::Int { .. }, .. }) => Some(name.as_str()),
        _ => None,
    };
    let whole_numbers: Vec<_> = parts.filter_map(counts).collect();
    match named {
        Some(name) if whole_numbers.contains(&name.as_str()) => Ok(Some(name)),
        Some(name) => Err(format!("epochs is {name:?}; accepted is the name of an int in run")),
        None => Ok(EPOCHS.into_iter().find(|name| whole_numbers.contains(name)).map(str::to_owned)),
    }
}

/// A name may stand in several places, but then it means the same everywhere.
fn same_everywhere<'a>(parts: impl Iterator<Item = &'a Part>) -> Result<(), String> {
    let mut seen: BTreeMap<&str, &Hole> = BTreeMap::new();
    for part in parts {
        if let Part::Hole(hole) = part
            && let Some(other) = seen.insert(&hole.name, hole)
            && (&other.kind, &other.standard) != (&hole.kind, &hole.standard)
        {
            return Err(format!("{{{}}} is written in two ways; write it the same", hole.name));
        }
    }
    Ok(())
}

/// An argument in its parts. `{{` and `}}` are braces.
fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        plain.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            plain.push_str(brace);
            rest = after;
            continue;
        }
        let end = (brace == "{").then(|| rest.find('}')).flatten();
        let end = end.ok_or_else(|| {
            format!("{text:?} has a {brace} without its counterpart; double it to mean the brace")
        })?;
        let begins = parts.is_empty() && plain.is_empty();
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(hole(&rest[..end], begins)?);
        rest = &rest[end + 1..];
    }
    plain.push_str(rest);
    if !plain.is_empty() || parts.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

const KINDS: &str = "int=LEAST..MOST, float=LEAST..MOST, choice=A|B|C, text=LENGTH, name=LENGTH, \
                     flag, path or new, each with ?DEFAULT behind it if wanted";

fn hole(text: &str, begins: bool) -> Result<Part, String> {
    let Some((name, rest)) = text.split_once(':') else {
        let own = Own::NAMES.iter().find(|(name, _)| *name == text);
        let names = Own::NAMES.map(|(name, _)| name).join(", ");
        return own.map(|&(_, own)| Part::Own(own)).ok_or_else(|| {
            format!("{{{text}}} has no type; write {{{text}:TYPE}} with {KINDS}; without one there are {names}")
        });
    };
    let bad = || format!("{{{text}}} is not understood; behind the name comes {KINDS}");
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(good) || Own::NAMES.iter().any(|(own, _)| *own == name)
    {
        return Err(format!(
            "{name:?} cannot name a value: A-Z, a-z, 0-9 and _, and none of the worker's own names"
        ));
    }
    let (kind, standard) = match rest.split_once('?') {
        Some((kind, standard)) => (kind, Some(standard.to_owned())),
        None => (rest, None),
    };
    let kind = kind_of(kind).ok_or_else(bad)?;
    if kind == Kind::Flag && standard.is_some() {
        return Err(format!("{{{text}}}: a flag that is not given means no, and has no default"));
    }
    if let Some(standard) = &standard
        && kind != Kind::Path
    {
        // The owner's own word, but it should be one that anybody could have said.
        let hole = Hole::new(name, kind.clone(), None, begins);
        let value = serde_json::Value::String(standard.clone());
        let fits = hole.fill(Some(&value), std::path::Path::new("."));
        fits.map_err(|error| format!("the default of {{{name}}}: {error}"))?;
    }
    Ok(Part::Hole(Hole::new(name, kind, standard, begins)))
}

fn kind_of(text: &str) -> Option<Kind> {
    let (word, rest) = text.split_once('=').unwrap_or((text, ""));
    Some(match word {
        "int" => {
            let (least, most) = rest.split_once("..")?;
            let (least, most) = (least.parse().ok()?, most.parse().ok()?);
            (least <= most).then_some(Kind::Int { least, most })?
        }
        "float" => {
            let (least, most) = rest.split_once("..")?;
            let (least, most): (f64, f64) = (least.parse().ok()?, most.parse().ok()?);
            (least <= most).then_some(Kind::Float { least, most })?
        }
        "choice" if !rest.is_empty() => Kind::Choice(rest.split('|').map(str::to_owned).collect()),
        "text" => Kind::Text { most: rest.parse().ok().filter(|most| (1..=4096).contains(most))? },
        "name" => Kind::Name { most: rest.parse().ok().filter(|most| (1..=255).contains(most))? },
        "flag" if rest.is_empty() => Kind::Flag,
        "path" if rest.is_empty() => Kind::Path,
        "new" if rest.is_empty() => Kind::New,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use halyard_protocol::channel::JobErrorCode;
    use serde_json::json;

    use super::{
        super::{CommandLine, Filled},
        *,
    };

    fn read(text: &str) -> Result<Vec<Template>, TemplateError> {
        let table: toml::Table = text.parse().expect("TOML");
        read_templates(&table["job"])
    }

    const TRAIN: &str = r#"
        [[job]]
        name = "train"
        run = ["python3", "train.py", "--epochs={epochs:int=1..1000?20}", "{name:text=20}",
               "--port", "{progress_port}", "{{raw}}"]
        set = { RUN_NAME = "run-{name:text=20}" }
        results = ["*.ckpt", "logs/**/*.json"]
        time_limit = "2h"
    "#;

    #[test]
    fn a_template_is_filled_argument_by_argument() {
        let templates = read(TRAIN).expect("a template");
        let values = [("name".to_owned(), json!("a b; c"))].into();
        let CommandLine { run, set, .. } =
            templates[0].fill("steps[0]", &values, Path::new("/")).expect("filled");
        let text = |text: &str| Filled::Text(text.into());
        assert_eq!(run[2], [text("--epochs="), text("20")]);
        assert_eq!(run[3], [text("a b; c")]);
        assert_eq!(run[5], [Filled::Own(Own::ProgressPort)]);
        assert_eq!(run[6], [text("{raw}")]);
        assert_eq!(set["RUN_NAME"], [text("run-"), text("a b; c")]);
        assert!(templates[0].has_bridge());
        assert!(templates[0].results.is_match("logs/a/b.json"));
        assert!(!templates[0].results.is_match("deep/best.ckpt"));
        assert_eq!(templates[0].time_limit, Duration::from_hours(2));
    }

    #[test]
    fn a_request_says_how_many_epochs_there_are_to_be() {
        let template = read(TRAIN).expect("a template").remove(0);
        assert_eq!(template.epochs(&BTreeMap::new()), Some(20), "the default");
        assert_eq!(template.epochs(&[("epochs".to_owned(), json!(7))].into()), Some(7));
        assert_eq!(template.epochs(&[("epochs".to_owned(), json!("x"))].into()), None);
        let text = "[[job]]\nname='a'\nrun=['x', '{rounds:int=1..9}']\n";
        assert_eq!(read(text).expect("one")[0].epochs, None);
        let named = read(&format!("{text}epochs='rounds'")).expect("one").remove(0);
        assert_eq!(named.epochs(&[("rounds".to_owned(), json!(3))].into()), Some(3));
    }

    #[test]
    fn the_templates_that_ship_can_be_used() {
        let templates = read(include_str!("../../../templates/sleap.toml")).expect("templates");
        let names: Vec<_> = templates.iter().map(|template| template.name.as_str()).collect();
        assert_eq!(names, ["train", "track", "train-legacy"]);
        assert!(templates[0].has_bridge() && templates[2].has_bridge());
    }

    #[test]
    fn arguments_in_an_array_are_there_when_their_value_is_and_as_often_as_it_is() {
        let templates = read(
            r#"
            [[job]]
            name = "track"
            run = ["track", ["--model", "{models:name=20}"], ["--only{only:flag}"],
                   ["--batch", "{batch:int=1..9}"], "{data:name=20}"]
            cwd = "/srv/{data:name=20}"
            "#,
        )
        .expect("a template");
        let line = |values: serde_json::Value| {
            let values = serde_json::from_value(values).expect("an object");
            let filled = templates[0].fill("x", &values, Path::new("/"));
            filled.map(|line| {
                let text = |parts: &Vec<Filled>| -> String {
                    let text = |part: &Filled| match part {
                        Filled::Text(text) => text.clone(),
                        Filled::Own(own) => panic!("{own:?}"),
                    };
                    parts.iter().map(text).collect()
                };
                let run: Vec<_> = line.run.iter().map(text).collect();
                (run.join(" "), text(&line.cwd.expect("a folder")))
            })
        };
        let (run, cwd) = line(json!({"data": "d"})).expect("filled");
        assert_eq!((run.as_str(), cwd.as_str()), ("track d", "/srv/d"));
        let all = json!({"models": ["a", "b"], "only": true, "batch": 3, "data": "d"});
        assert_eq!(line(all).expect("filled").0, "track --model a --model b --only --batch 3 d");
        let one = json!({"models": "a", "only": false, "batch": null, "data": "d"});
        assert_eq!(line(one).expect("filled").0, "track --model a d");
        let wrong = json!({"models": ["a", "-b"], "only": "maybe", "batch": [3, 10]});
        let problems = line(wrong).expect_err("refused");
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, ["x.batch", "x.data", "x.models", "x.only"]);
        let info = templates[0].info().values;
        assert_eq!(
            info["batch"],
            "a whole number from 1 to 9, or a list of such [may be left out]"
        );
        assert_eq!(info["only"], "true or false [may be left out]");
    }

    #[test]
    fn the_templates_for_clusters_can_be_used_and_keep_values_out_of_the_shell() {
        let templates = read(include_str!("../../../templates/slurm.toml")).expect("templates");
        let names: Vec<_> = templates.iter().map(|template| template.name.as_str()).collect();
        assert_eq!(names, ["train-here", "train-srun", "train-batch"]);
        assert!(templates[0].has_bridge(), "it runs where the worker does");
        assert!(!templates[1].has_bridge() && !templates[2].has_bridge(), "they run elsewhere");
        assert_eq!([1, 2].map(|n: usize| templates[n].gpus), [0, 0], "Slurm hands out the cards");
        let script = templates[2].run[2].arguments[0].as_slice();
        assert!(matches!(script, [Part::Text(_)]), "no hole in the script");
        assert_eq!(templates[1].epochs.as_deref(), Some("epochs"));
        let torch = read(include_str!("../../../templates/torchrun.toml")).expect("templates");
        assert_eq!(torch.iter().map(|template| template.gpus).collect::<Vec<_>>(), [2, 1]);
        assert!(torch.iter().all(Template::has_bridge));
    }

    #[test]
    fn everything_wrong_with_a_request_is_said_at_once() {
        let templates = read(TRAIN).expect("a template");
        let values = [("epochs".to_owned(), json!(0)), ("lr".to_owned(), json!(1))].into();
        let problems = templates[0].fill("steps[1]", &values, Path::new("/")).expect_err("refused");
        let said: Vec<_> = problems.iter().map(|p| (p.field.as_str(), p.code)).collect();
        assert_eq!(
            said,
            [
                ("steps[1].lr", JobErrorCode::UnknownValue),
                ("steps[1].epochs", JobErrorCode::BadValue),
                ("steps[1].name", JobErrorCode::MissingValue),
            ]
        );
    }

    #[test]
    fn a_template_that_means_nothing_is_refused_with_what_is_accepted() {
        for (job, words) in [
            ("name='a'\nrun=[]", "at least the program"),
            ("name='a'\nrun=['{x:path}']", "plain word"),
            ("name='a b'\nrun=['x']", "the name is made of"),
            ("name='a'\nrun=['x']\nshell=true", "unknown field `shell`"),
            ("name='a'\nrun=['x', '{n}']", "has no type"),
            ("name='a'\nrun=['x', '{n:int}']", "int=LEAST..MOST"),
            ("name='a'\nrun=['x', '{n:int=1..5}', '{n:int=1..6}']", "two ways"),
            ("name='a'\nrun=['x', '{n:int=5..1}']", "int=LEAST..MOST"),
            ("name='a'\nrun=['x', '{n:int=1..5?9}']", "the default of {n}"),
            ("name='a'\nrun=['x', '{n:int=1..5']", "without its counterpart"),
            ("name='a'\nrun=['x', '{job:text=5}']", "cannot name a value"),
            ("name='a'\nrun=['x']\ntime_limit='soon'", "a duration like"),
            ("name='a'\nrun=['x', 5]", "a text or an array of texts"),
            ("name='a'\nrun=['x', ['-v']]", "no value that could be left out"),
            ("name='a'\nrun=['x', ['{n:path}', '{m:path}']]", "several values"),
            ("name='a'\nrun=['x', '-v{n:flag}']", "a flag stands in an array"),
            ("name='a'\nrun=['x', ['-v{n:flag?true}']]", "has no default"),
            ("name='a'\nrun=['x']\ncwd='{n}'", "has no type"),
            ("name='a'\nrun=['x', '{n:text=9}']\nepochs='n'", "the name of an int"),
            ("name='a'\nrun=['x']\noutput_limit_mib=0", "a number from 1"),
            ("name='a'\nrun=['x']\nresults=['[']", "results has"),
        ] {
            let error = read(&format!("[[job]]\n{job}\n")).expect_err(job).to_string();
            assert!(error.contains(words), "{job}: {error}");
        }
        let twice = "[[job]]\nname='a'\nrun=['x']\n[[job]]\nname='a'\nrun=['y']\n";
        assert!(read(twice).expect_err("twice").to_string().contains("[[job]] 2"));
    }
}
