//! Packages of existing clients: an archive with a script, unpacked, run by the worker's own templates,
//! and the results zipped and sent back.
//!
//! `PACKAGE_TYPE::train|track`, `OUTPUT_DIR::models`, then the file. A path that is here already
//! (`USE_WORKER_PATH`) takes the file's place.

use std::io::{self, Write};

use halyard_client::{
    files::{Store, unpack::Unpacked},
    transfer::send_legacy,
};
use halyard_protocol::{
    channel::JobState,
    transfer::{Failure, RelativeName},
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{
    SPEAKER,
    jobs::{Gone, Teller},
    place::{Place, below, or_top},
    script::{self, Script},
    words,
};

/// A script is a few lines.
const MOST_SCRIPT_BYTES: u64 = 64 * 1024;

/// What a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Kind {
    #[default]
    Train,
    Track,
}

/// What a client said of the package that comes next.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    /// `None` as long as nothing was said: then a file is a file.
    kind: Option<Kind>,
    output_dir: Option<String>,
    /// It follows in a window.
    pub(super) gui: bool,
}

/// A package to be run.
#[derive(Debug, Clone)]
pub(super) struct Package {
    pub(super) kind: Kind,
    /// An archive or a folder, in the worker's files.
    pub(super) from: String,
    /// It came for this alone, and is removed once it is unpacked.
    pub(super) is_ours: bool,
    /// A folder of its own.
    pub(super) folder: String,
    /// How the client calls the folder of results.
    pub(super) output_dir: String,
    pub(super) gui: bool,
}

impl Said {
    /// `PACKAGE_TYPE::kind`. `None` when no package is of that kind.
    pub(super) fn package_type(&mut self, kind: &str) -> Option<()> {
        self.kind = Some(match kind {
            "train" => Kind::Train,
            "track" => Kind::Track,
            _ => return None,
        });
        Some(())
    }

    /// `OUTPUT_DIR::name`.
    pub(super) fn output_dir(&mut self, name: &str) {
        self.kind.get_or_insert_default();
        self.output_dir = Some(name.to_owned());
    }

    /// A package is what comes next.
    pub(super) fn is_package(&self) -> bool {
        self.kind.is_some()
    }

    /// What was said of it, and nothing is said of the next.
    pub(super) fn take(&mut self, from: String, is_ours: bool, folder: String) -> Package {
        let said = std::mem::take(self);
        // The original splits at every `:`.
        let output_dir = said.output_dir.filter(|name| !name.is_empty() && !name.contains(':'));
        Package {
            kind: said.kind.unwrap_or_default(),
            from,
            is_ours,
            folder,
            output_dir: output_dir.unwrap_or_else(|| "models".to_owned()),
            gui: said.gui,
        }
    }
}

impl Kind {
    fn script(self) -> &'static str {
        match self {
            Self::Train => "train-script.sh",
            Self::Track => "track-script.sh",
        }
    }
}

impl Package {
    /// How the client knows it.
    fn stem(&self) -> &str {
        let file = self.from.rsplit('/').next().unwrap_or(&self.from);
        if is_zip(file) { &file[..file.len() - 4] } else { file }
    }

    /// Runs it from the zip to the results that the client gets back.
    pub(super) async fn run(self, teller: Teller) -> Result<(), Gone> {
        if self.kind == Kind::Track {
            teller.say("INFERENCE_START".to_owned()).await?;
        }
        let (package, place) = (self.clone(), teller.clone());
        let unpacked = tokio::task::spawn_blocking(move || package.script(&place)).await;
        let unpacked = unpacked.unwrap_or_else(|_| Err(vec!["the worker is stopping".to_owned()]));
        let queued = match unpacked {
            Ok(script) => {
                let steps = script.steps.iter().map(|(_, step)| step.clone()).collect();
                let told = |problem: halyard_protocol::channel::JobProblem| {
                    format!("{}: {}", problem.field, problem.message)
                };
                let queued = teller.queue(steps).await;
                let queued = queued.map_err(|problems| problems.into_iter().map(told).collect());
                queued.map(|jobs| (script, jobs))
            }
            Err(problems) => Err(problems),
        };
        match queued {
            Ok((script, jobs)) => self.follow(&teller, script, jobs).await,
            Err(problems) => {
                tracing::info!(peer = %teller.asker.peer, ?problems, "a package is refused");
                let words = format!("the package is refused: {}", problems.join("; "));
                match self.kind {
                    Kind::Train => {
                        teller.say(format!("{SPEAKER} {words}\n")).await?;
                        teller.say(format!("TRAIN_JOB_ERROR::{}::1", self.stem())).await
                    }
                    Kind::Track => teller.say(format!("INFERENCE_ERROR::{words}")).await,
                }
            }
        }
    }

    /// Unpacks it and reads what it asks for. Blocks.
    fn script(&self, teller: &Teller) -> Result<Script, Vec<String>> {
        let one = |why: String| vec![why];
        let top = if is_zip(&self.from) {
            let into = below(&self.folder, self.stem());
            let unpacked = self.unpack(teller, &into);
            if self.is_ours
                && let Err(error) = teller.place.dir().remove_file(&self.from)
            {
                tracing::warn!(%error, file = self.from, "a package stays");
            }
            unpacked.map_err(|failure| {
                // It came for this package alone, and is empty now.
                let _ = teller.place.dir().remove_dir(&self.folder);
                one(failure.to_string())
            })?;
            into
        } else {
            let dir = teller.place.dir();
            let is_folder = dir.metadata(or_top(&self.from)).is_ok_and(|found| found.is_dir());
            let parent = self.from.rsplit_once('/').map_or("", |(parent, _)| parent);
            if is_folder { self.from.clone() } else { parent.to_owned() }
        };
        let folder = self.with_script(teller, &top).ok_or_else(|| {
            one(format!("there is no {} in it, nor in its only folder", self.kind.script()))
        })?;
        let path = below(&folder, self.kind.script());
        let metadata =
            teller.place.dir().metadata(&path).map_err(|error| one(error.to_string()))?;
        if metadata.len() > MOST_SCRIPT_BYTES {
            return Err(one(format!(
                "{} has more than {MOST_SCRIPT_BYTES} bytes",
                self.kind.script()
            )));
        }
        let text = teller.place.dir().read(&path).map_err(|error| one(error.to_string()))?;
        let text = String::from_utf8_lossy(&text);
        match self.kind {
            Kind::Train => script::train(&text, or_top(&folder)),
            Kind::Track => script::track(&text, or_top(&folder)),
        }
    }

    fn unpack(&self, teller: &Teller, into: &str) -> Result<Unpacked, Failure> {
        let (archive, into) = (RelativeName::new(&*self.from)?, RelativeName::folder(into)?);
        teller.serving.unpack(&archive, &into, false)
    }

    /// The folder that the script is in: at the top, in the one that is called like the package, or
    /// in the only one.
    fn with_script(&self, teller: &Teller, top: &str) -> Option<String> {
        let dir = teller.place.dir();
        let has = |folder: &String| {
            let script = below(folder, self.kind.script());
            dir.metadata(script).is_ok_and(|found| found.is_file())
        };
        let only = || {
            let entries = dir.open_dir(or_top(top)).ok()?.entries().ok()?.flatten();
            let mut folders =
                entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            let first = folders.next()?.file_name().into_string().ok()?;
            folders.next().is_none().then(|| below(top, &first))
        };
        let candidates = [Some(top.to_owned()), Some(below(top, self.stem())), only()];
        candidates.into_iter().flatten().find(has)
    }

    async fn follow(&self, teller: &Teller, script: Script, jobs: Vec<String>) -> Result<(), Gone> {
        for line in &script.left_out {
            teller.say(format!("{SPEAKER} this line of the script is not done: {line}\n")).await?;
        }
        let prefix = format!("jobs/{}/", jobs.first().map_or("", String::as_str));
        let mut results: Vec<(String, u64)> = Vec::new();
        for ((name, step), job) in script.steps.iter().zip(&jobs) {
            let end = match self.kind {
                Kind::Train => teller.follow(job, |event| words::trained(name, self.gui, event)),
                Kind::Track => {
                    let end = teller.follow(job, |event| words::tracked(name, event)).await?;
                    teller.say_all(words::package_end("INFERENCE_JOB", name, &end)).await?;
                    if end.state != JobState::Succeeded {
                        return Ok(());
                    }
                    let asked = step.values.get("output_path").and_then(|path| path.as_str());
                    let made = end.results.first().map(|(path, _)| path.as_str());
                    match asked.or(made) {
                        Some(path) => self.send(teller, path, None).await?,
                        None => {
                            teller.say(format!("{SPEAKER} no predictions came of it\n")).await?;
                        }
                    }
                    continue;
                }
            }
            .await?;
            teller.say_all(words::package_end("TRAIN_JOB", name, &end)).await?;
            for result in end.results {
                if !results.contains(&result) {
                    results.push(result);
                }
            }
        }
        match self.kind {
            Kind::Track => teller.say("INFERENCE_JOBS_DONE".to_owned()).await,
            Kind::Train => {
                teller.say("TRAINING_JOBS_DONE".to_owned()).await?;
                self.send_results(teller, &prefix, results).await
            }
        }
    }

    async fn send_results(
        &self,
        teller: &Teller,
        prefix: &str,
        results: Vec<(String, u64)>,
    ) -> Result<(), Gone> {
        if results.is_empty() {
            return teller.say(format!("{SPEAKER} no results came of it\n")).await;
        }
        let name = format!("trained_{}.zip", self.stem().replace(':', "_"));
        let archive = below(&self.folder, &name);
        let (place, prefix, made) = (teller.place.clone(), prefix.to_owned(), archive.clone());
        let zipped =
            tokio::task::spawn_blocking(move || Zipped::make(place, made, &prefix, &results));
        match zipped.await {
            // It goes when it is sent, and also when its receiver is gone in the middle of that.
            Ok(Ok(_zipped)) => self.send(teller, &archive, Some(&name)).await,
            Ok(Err(error)) => {
                teller.say(format!("{SPEAKER} the results cannot be zipped: {error}\n")).await
            }
            Err(_) => Err(Gone),
        }
    }

    /// Sends a file of the worker, under this name where it is another one.
    async fn send(&self, teller: &Teller, path: &str, name: Option<&str>) -> Result<(), Gone> {
        let file = path.rsplit('/').next().unwrap_or(path).replace(':', "_");
        let said = RelativeName::new(name.unwrap_or(&file)).map_err(|error| error.to_string());
        let asked = RelativeName::new(path).map_err(|error| error.to_string());
        let sent = match (said, asked) {
            (Ok(said), Ok(asked)) => {
                let root = teller.root.clone();
                let opened = tokio::task::spawn_blocking(move || root.open(&asked)).await;
                match opened {
                    Ok(Ok(source)) => {
                        let hint = Some(self.output_dir.clone());
                        let sent = send_legacy(&teller.peer, source, &said, hint, |_| {}).await;
                        sent.map(drop).map_err(|error| error.to_string())
                    }
                    Ok(Err(failure)) => Err(failure.to_string()),
                    Err(_) => return Err(Gone),
                }
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        };
        match sent {
            Ok(()) => Ok(()),
            Err(error) => teller.say(format!("{SPEAKER} {file} was not sent: {error}\n")).await,
        }
    }
}

/// A zip of results, removed when dropped.
struct Zipped {
    place: Place,
    name: String,
}

impl Zipped {
    /// Blocks. A disk that fills up on the way is not left with half of it.
    fn make(
        place: Place,
        name: String,
        prefix: &str,
        results: &[(String, u64)],
    ) -> io::Result<Self> {
        if let Some((folder, _)) = name.rsplit_once('/') {
            place.dir().create_dir_all(folder)?;
        }
        let file = place.dir().create(&name)?.into_std();
        let zipped = Self { place, name };
        zip(file, zipped.place.dir(), prefix, results)?;
        Ok(zipped)
    }
}

impl Drop for Zipped {
    fn drop(&mut self) {
        if let Err(error) = self.place.dir().remove_file(&self.name) {
            tracing::warn!(%error, file = self.name, "a zip of results stays");
        }
    }
}

/// Whether a file's name says that it is a zip.
pub(super) fn is_zip(name: &str) -> bool {
    let extension = std::path::Path::new(name).extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("zip"))
}

/// Zips results as existing workers do: what lies in `models`, without that folder's name. Blocks.
fn zip(
    file: std::fs::File,
    dir: &cap_std::fs::Dir,
    prefix: &str,
    results: &[(String, u64)],
) -> io::Result<()> {
    let mut zip = ZipWriter::new(file);
    for (path, size) in results {
        let name = path.strip_prefix(prefix).unwrap_or(path);
        let name = name.strip_prefix("models/").unwrap_or(name);
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            // Models hardly shrink.
            .compression_level(Some(1))
            .large_file(*size >= u64::from(u32::MAX));
        zip.start_file(name, options).map_err(io::Error::other)?;
        io::copy(&mut dir.open(path)?, &mut zip)?;
    }
    let mut file = zip.finish().map_err(io::Error::other)?;
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_package_once_something_was_said_of_it() {
        let mut said = Said::default();
        assert!(!said.is_package());
        said.output_dir("runs:1");
        assert!(said.is_package(), "the oldest clients name no kind");
        let package = said.take("packages/1/a.b.zip".into(), true, "packages/1".into());
        assert_eq!((package.kind, package.output_dir.as_str()), (Kind::Train, "models"));
        assert_eq!(package.stem(), "a.b");
        assert!(!said.is_package(), "nothing is known of the next one");
        assert_eq!(said.package_type("track"), Some(()));
        said.output_dir("out");
        let package = said.take("p".into(), false, "f".into());
        assert_eq!((package.kind, package.output_dir.as_str()), (Kind::Track, "out"));
        assert_eq!(said.package_type("shell"), None);
    }

    #[test]
    fn results_are_zipped_without_the_folder_that_holds_them() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(home.path().join("jobs/1/models/centroid")).expect("made");
        for name in ["jobs/1/models/centroid/best.ckpt", "jobs/1/log.csv"] {
            std::fs::write(home.path().join(name), name).expect("written");
        }
        let dir = cap_std::fs::Dir::open_ambient_dir(home.path(), cap_std::ambient_authority());
        let dir = dir.expect("opened");
        let file = dir.create("out.zip").expect("made").into_std();
        let results = [
            ("jobs/1/models/centroid/best.ckpt".to_owned(), 32),
            ("jobs/1/log.csv".to_owned(), 14),
        ];
        zip(file, &dir, "jobs/1/", &results).expect("zipped");
        let file = std::fs::File::open(home.path().join("out.zip")).expect("there");
        let mut archive = zip::ZipArchive::new(file).expect("a zip");
        let mut name = |at| {
            let file = archive.by_index(at).expect("a file");
            file.name().expect("a name").into_owned()
        };
        let names = [name(0), name(1)];
        assert_eq!(names, ["centroid/best.ckpt", "log.csv"]);
    }

    #[test]
    fn a_zip_of_results_goes_when_it_was_sent_and_when_it_cannot_be_made() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::write(home.path().join("log.csv"), "1").expect("written");
        let place = Place::open(home.path()).expect("opened");
        let zip = home.path().join("packages/1/trained.zip");
        let make = |results: &[(String, u64)]| {
            Zipped::make(place.clone(), "packages/1/trained.zip".to_owned(), "", results)
        };
        let zipped = make(&[("log.csv".to_owned(), 1)]).expect("made");
        assert!(zip.is_file());
        drop(zipped);
        assert!(!zip.exists());
        // The second result is gone meanwhile, as half of it would be on a full disk.
        let broken = make(&[("log.csv".to_owned(), 1), ("gone.csv".to_owned(), 1)]);
        assert!(broken.is_err() && !zip.exists());
    }
}
