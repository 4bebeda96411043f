//! Jobs: what the owner lets others run, and the truth about it whatever dies meanwhile.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use halyard_client::session::{JobsError, Session};
use halyard_protocol::channel::{
    JobErrorCode, JobEvent, JobHappened, JobState, JobStep, JobStream,
};
use halyard_worker::{
    config::{DriverSpec, Settings},
    jobs::{Template, read_templates},
    media::SourceSpec,
};
use serde_json::{Value, json};

use crate::{
    program::Program,
    world::{Broker, PATIENCE, World, join, soon},
};

/// What an owner may write. The scripts are the owner's own: values come as arguments, never as
/// a part of a script.
const TEMPLATES: &str = r#"
[[job]]
name = "say"
run = ["sh", "-c", 'printf "%s\n" "$@"; echo oops >&2; echo made > out.txt', "sh", "{text:text=200}"]
results = ["*.txt"]

[[job]]
name = "fail"
gpus = 0
run = ["sh", "-c", "exit 3"]

[[job]]
name = "family"
run = ["sh", "-c", "trap '' TERM; setsid sleep 1000 & sleep 1000 & echo ready; wait; sleep 1000"]

[[job]]
name = "polite"
run = ["sh", "-c", "trap 'echo saved > model; exit 0' INT; echo ready; while :; do sleep 0.05; done"]
results = ["model"]

[[job]]
name = "slow"
run = ["sh", "-c", 'echo ready; while [ ! -e go ]; do sleep 0.05; done; echo went; exit "$0"', "{code:int=0..9?0}"]

[[job]]
name = "hold"
gpus = 0
run = ["sh", "-c", 'echo "holds $0"; while [ ! -e go ]; do sleep 0.05; done', "{package:text=99}"]

[[job]]
name = "flood"
run = ["sh", "-c", "head -c 100000000 /dev/zero | tr '\\0' 'x'; echo; echo the end >&2"]

[[job]]
name = "capped"
output_limit_mib = 1
run = ["sh", "-c", "head -c 3000000 /dev/zero; echo the end >&2"]

[[job]]
name = "lines"
run = ["sh", "-c", "yes $(head -c 100 /dev/zero | tr '\\0' 'x') | head -c 20000000"]

[[job]]
name = "card"
run = ["sh", "-c", 'echo "cards $CUDA_VISIBLE_DEVICES"; while [ ! -e go ]; do sleep 0.05; done']

[[job]]
name = "cards"
gpus = 2
run = ["sh", "-c", 'echo "cards $CUDA_VISIBLE_DEVICES"']

[[job]]
name = "blind"
gpus = 0
run = ["sh", "-c", 'echo "cards $CUDA_VISIBLE_DEVICES"']

[[job]]
name = "make"
run = ["sh", "-c", 'echo "$0" > "$0"', "{file:choice=a|b}"]
results = ["a", "b"]

[[job]]
name = "short"
time_limit = "300ms"
run = ["sleep", "1000"]

[[job]]
name = "absent"
run = ["/no/such/program"]
"#;

/// What a run of the template's process group is known by: `PATH` alone is handed on.
fn templates() -> Vec<Template> {
    let mut table: toml::Table = TEMPLATES.parse().expect("TOML");
    for job in table["job"].as_array_mut().expect("an array") {
        job.as_table_mut().expect("a table").insert("env".into(), vec!["PATH"].into());
    }
    read_templates(&table["job"]).expect("good templates")
}

pub struct Home {
    pub files: tempfile::TempDir,
    jobs: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self { files: tempfile::tempdir().unwrap(), jobs: tempfile::tempdir().unwrap() }
    }

    pub async fn world(&self) -> World {
        self.world_with_cards(&[]).await
    }

    async fn world_with_cards(&self, cards: &[&str]) -> World {
        let job_gpus = cards.iter().map(|&card| card.to_owned()).collect();
        let settings = Settings { job_gpus, ..self.settings() };
        World::with(settings, Broker::start(None).await).await
    }

    pub fn settings(&self) -> Settings {
        Settings {
            video: SourceSpec::None,
            driver: DriverSpec::None,
            files: Some(self.files.path().to_owned()),
            jobs: templates(),
            jobs_dir: Some(self.jobs.path().to_owned()),
            job_keeper: Some(PathBuf::from(env!("CARGO_BIN_EXE_halyard-worker"))),
            ..Settings::default()
        }
    }
}

/// Jobs outlive their worker; they must not outlive a test that failed.
impl Drop for Home {
    fn drop(&mut self) {
        for dir in [self.jobs.path().to_owned(), self.jobs.path().join("jobs")] {
            let jobs = std::fs::read_dir(dir).into_iter().flatten().flatten();
            for job in jobs.filter(|job| !job.path().join("exit.json").exists()) {
                if let Ok(text) = std::fs::read(job.path().join("process.json"))
                    && let Ok(process) = serde_json::from_slice::<Value>(&text)
                {
                    let keeper = process["keeper"].to_string();
                    let _ = std::process::Command::new("kill").args(["-TERM", &keeper]).status();
                }
            }
        }
    }
}

pub fn step(template: &str, values: &[(&str, Value)]) -> JobStep {
    let values: BTreeMap<_, _> =
        values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    JobStep { template: template.into(), values }
}

pub async fn submit(session: &Session, steps: Vec<JobStep>) -> Vec<String> {
    soon("acceptance", session.submit_jobs(steps)).await.expect("accepted").jobs
}

/// Everything that happened until `enough` says so, or the job is over.
async fn until(
    session: &Session,
    job: &str,
    enough: impl Fn(&[JobEvent]) -> bool,
) -> Vec<JobEvent> {
    let mut events: Vec<JobEvent> = Vec::new();
    loop {
        let from = events.last().map_or(1, |event| event.n + 1);
        let page = soon("events", session.job_events(job, from)).await.expect("events");
        events.extend(page.events);
        if page.over || enough(&events) {
            assert!(events.iter().zip(1..).all(|(event, n)| event.n == n), "none is missing");
            return events;
        }
    }
}

async fn whole(session: &Session, job: &str) -> Vec<JobEvent> {
    until(session, job, |_| false).await
}

fn states(events: &[JobEvent]) -> Vec<JobState> {
    let states = events.iter().filter_map(|event| match event.what {
        JobHappened::State { state, .. } => Some(state),
        _ => None,
    });
    states.collect()
}

fn end(events: &[JobEvent]) -> (JobState, String) {
    let last = events.iter().rev().find_map(|event| match &event.what {
        JobHappened::State { state, reason, .. } => Some((*state, reason.clone())),
        _ => None,
    });
    let (state, reason) = last.expect("a state");
    (state, reason.unwrap_or_default())
}

fn lines(events: &[JobEvent], wanted: JobStream) -> Vec<&str> {
    let lines = events.iter().filter_map(|event| match &event.what {
        JobHappened::Line { stream, text, .. } if *stream == wanted => Some(text.as_str()),
        _ => None,
    });
    lines.collect()
}

fn noted(events: &[JobEvent]) -> Vec<&str> {
    let codes = events.iter().filter_map(|event| match &event.what {
        JobHappened::Note { code, .. } => Some(code.as_str()),
        _ => None,
    });
    codes.collect()
}

/// The state of a job as it is listed.
async fn state(session: &Session, job: &str) -> JobState {
    let listed = soon("the list", session.list_jobs()).await.expect("listed");
    listed.jobs.iter().find(|other| other.job == job).expect("it is there").state
}

fn said(word: &'static str) -> impl Fn(&[JobEvent]) -> bool {
    move |events| lines(events, JobStream::Stdout).contains(&word)
}

fn lives(pid: i64) -> bool {
    // A zombie has ended; only nobody has asked yet.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

/// Every process whose working folder is this one.
fn processes_in(folder: &Path) -> Vec<i64> {
    let folder = std::fs::canonicalize(folder).unwrap();
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: i64 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        (cwd == folder && lives(pid)).then_some(pid)
    });
    pids.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_runs_and_everything_it_did_is_told_in_order() {
    let home = Home::new();
    let world = home.world().await;
    let operator = world.operator().await;
    let hello = operator.hello().expect("connected");
    assert!(hello.capabilities.contains(&"jobs".to_owned()), "{:?}", hello.capabilities);

    let text = "$(touch hacked); `id` | & > x 'quoted' \"ü\"";
    let jobs = submit(&operator, vec![step("say", &[("text", json!(text))])]).await;
    let events = whole(&operator, &jobs[0]).await;
    assert_eq!(states(&events), [JobState::Queued, JobState::Running, JobState::Succeeded]);
    assert_eq!(lines(&events, JobStream::Stdout), [text], "no shell has read it");
    assert_eq!(lines(&events, JobStream::Stderr), ["oops"]);
    let folder = format!("jobs/{}", jobs[0]);
    let result = JobHappened::Result { path: format!("{folder}/out.txt"), size: 5 };
    assert!(events.iter().any(|event| event.what == result), "{events:?}");
    let names: Vec<_> = std::fs::read_dir(home.files.path().join(&folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["out.txt"], "nothing else was made");

    let again = soon("events", operator.job_events(&jobs[0], 3)).await.expect("events");
    assert_eq!(again.events, events[2..], "from any number on, also afterwards");
    let listed = soon("the list", operator.list_jobs()).await.expect("listed");
    assert_eq!(
        (listed.jobs[0].job.as_str(), listed.jobs[0].state),
        (&*jobs[0], JobState::Succeeded)
    );
    assert_eq!(listed.templates.len(), templates().len());
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_was_told_and_printed_is_nobody_elses_on_this_computer() {
    use std::os::unix::fs::PermissionsExt;

    let home = Home::new();
    let world = home.world().await;
    let operator = world.operator().await;
    let jobs = submit(&operator, vec![step("say", &[("text", json!("hello"))])]).await;
    whole(&operator, &jobs[0]).await;
    let folder = home.jobs.path().join(&jobs[0]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    // Its whole environment stands there, with whatever the owner hands on.
    assert_eq!(mode(&folder.join("run.json")), 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_the_configuration_is_refused_with_what_is_accepted() {
    let home = Home::new();
    let world = home.world().await;
    let operator = world.operator().await;
    let refused = |steps| {
        let operator = &operator;
        async move {
            match soon("an answer", operator.submit_jobs(steps)).await {
                Err(JobsError::Refused(problems)) => problems,
                other => panic!("{other:?}"),
            }
        }
    };
    let problems = refused(vec![
        step("say", &[("text", json!("a\nb"))]),
        step("slow", &[("code", json!("0; reboot")), ("cmd", json!("x"))]),
        step("sh", &[]),
        step("say", &[]),
    ])
    .await;
    let found: Vec<_> = problems.iter().map(|p| (p.field.as_str(), p.code)).collect();
    assert_eq!(
        found,
        [
            ("steps[0].text", JobErrorCode::BadValue),
            ("steps[1].cmd", JobErrorCode::UnknownValue),
            ("steps[1].code", JobErrorCode::BadValue),
            ("steps[2].template", JobErrorCode::UnknownTemplate),
            ("steps[3].text", JobErrorCode::MissingValue),
        ]
    );
    assert!(problems[2].message.contains("a whole number from 0 to 9"), "{}", problems[2].message);
    assert_eq!(refused(vec![]).await[0].code, JobErrorCode::TooMany);
    let listed = soon("the list", operator.list_jobs()).await.expect("listed");
    assert_eq!(listed.total, 0, "nothing of it was queued");

    let viewer = world.viewer().await;
    let error = soon("an answer", viewer.list_jobs()).await.expect_err("refused");
    assert_eq!(error.problem(), Some(JobErrorCode::Forbidden));
    let error = soon("an answer", operator.job_events("nothing", 1)).await.expect_err("refused");
    assert_eq!(error.problem(), Some(JobErrorCode::UnknownJob));
    viewer.close().await;
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_cancel_at_once_both_are_answered_and_no_process_is_left() {
    let home = Home::new();
    let world = home.world().await;
    let (one, other) = (world.operator().await, world.operator().await);
    let jobs = submit(&one, vec![step("family", &[])]).await;
    until(&one, &jobs[0], said("ready")).await;
    let folder = home.files.path().join("jobs").join(&jobs[0]);
    assert!(processes_in(&folder).len() >= 3, "the shell, its child, and one that left the group");

    let both = async { tokio::join!(one.cancel_job(&jobs[0]), other.cancel_job(&jobs[0])) };
    let (first, second) = soon("both answers", both).await;
    assert!(first.expect("answered").ok && second.expect("answered").ok);
    let events = whole(&one, &jobs[0]).await;
    assert_eq!(end(&events).0, JobState::Cancelled);
    let ends = states(&events).into_iter().filter(|state| state.is_over()).count();
    assert_eq!(ends, 1, "{:?}", states(&events));
    assert_eq!(processes_in(&folder), [0_i64; 0], "it ignored SIGTERM, and one left the group");
    let late = soon("an answer", one.cancel_job(&jobs[0])).await.expect("answered");
    assert_eq!(late.error.expect("refused").code, "wrong_state");
    one.close().await;
    other.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_the_program_save_what_it_has() {
    let home = Home::new();
    let world = home.world().await;
    let operator = world.operator().await;
    let jobs = submit(&operator, vec![step("polite", &[])]).await;
    until(&operator, &jobs[0], said("ready")).await;
    assert!(soon("an answer", operator.stop_job(&jobs[0])).await.expect("answered").ok);
    let events = whole(&operator, &jobs[0]).await;
    assert_eq!(end(&events).0, JobState::Succeeded, "{events:?}");
    let made = |event: &JobEvent| matches!(&event.what, JobHappened::Result { path, .. } if path.ends_with("/model"));
    assert!(events.iter().any(made), "{events:?}");
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_one_after_another_and_end_with_the_first_that_fails() {
    let home = Home::new();
    let world = home.world().await;
    let operator = world.operator().await;
    let slow = |code| step("slow", &[("code", json!(code))]);
    let jobs = submit(&operator, vec![slow(0), slow(3), slow(0)]).await;
    let alone = submit(&operator, vec![step("fail", &[])]).await;
    // A job without a graphics card does not wait for those with one.
    let events = whole(&operator, &alone[0]).await;
    assert_eq!(end(&events), (JobState::Failed, "it ended with code 3".to_owned()));
    until(&operator, &jobs[0], said("ready")).await;
    let listed = soon("the list", operator.list_jobs()).await.expect("listed");
    let state = |id: &str| listed.jobs.iter().find(|job| job.job == id).map(|job| job.state);
    assert_eq!(state(&jobs[1]), Some(JobState::Queued));

    // They share the first one's folder, so this lets all of them go.
    std::fs::write(home.files.path().join(format!("jobs/{}/go", jobs[0])), "").unwrap();
    assert_eq!(end(&whole(&operator, &jobs[0]).await).0, JobState::Succeeded);
    assert_eq!(end(&whole(&operator, &jobs[1]).await).0, JobState::Failed);
    let (last, reason) = end(&whole(&operator, &jobs[2]).await);
    assert_eq!(last, JobState::Cancelled);
    assert!(reason.contains(&jobs[1]) && reason.contains("failed"), "{reason}");
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cards_are_handed_out_in_turn_and_nobody_overtakes() {
    let home = Home::new();
    let world = home.world_with_cards(&["7", "GPU-9"]).await;
    let operator = world.operator().await;
    let first = submit(&operator, vec![step("card", &[])]).await.remove(0);
    let second = submit(&operator, vec![step("card", &[])]).await.remove(0);
    let both = submit(&operator, vec![step("cards", &[])]).await.remove(0);
    let late = submit(&operator, vec![step("card", &[])]).await.remove(0);
    let blind = submit(&operator, vec![step("blind", &[])]).await.remove(0);
    // Side by side, each with its own; one that needs none waits for nobody and sees none.
    until(&operator, &first, said("cards 7")).await;
    until(&operator, &second, said("cards GPU-9")).await;
    assert_eq!(lines(&whole(&operator, &blind).await, JobStream::Stdout), ["cards "]);
    let listed = soon("the list", operator.list_jobs()).await.expect("listed");
    let gpus = |job: &str| listed.jobs.iter().find(|other| other.job == job).unwrap().gpus.clone();
    assert_eq!((gpus(&first), gpus(&second)), (vec!["7".to_owned()], vec!["GPU-9".to_owned()]));

    let go = |job: &str| std::fs::write(home.files.path().join(format!("jobs/{job}/go")), "");
    go(&first).unwrap();
    assert_eq!(end(&whole(&operator, &first).await).0, JobState::Succeeded);
    assert_eq!(state(&operator, &late).await, JobState::Queued, "one card is free, but not for it");
    go(&second).unwrap();
    assert_eq!(lines(&whole(&operator, &both).await, JobStream::Stdout), ["cards 7,GPU-9"]);
    until(&operator, &late, said("cards 7")).await;
    go(&late).unwrap();
    assert_eq!(end(&whole(&operator, &late).await).0, JobState::Succeeded);
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_steps_that_share_a_folder_each_tells_what_it_made_itself() {
    let home = Home::new();
    let world = home.world().await;
    let operator = world.operator().await;
    let make = |file: &str| step("make", &[("file", json!(file))]);
    let jobs = submit(&operator, vec![make("a"), make("b")]).await;
    let results = |events: &[JobEvent]| -> Vec<String> {
        let paths = events.iter().filter_map(|event| match &event.what {
            JobHappened::Result { path, .. } => Some(path.clone()),
            _ => None,
        });
        paths.collect()
    };
    let folder = format!("jobs/{}", jobs[0]);
    assert_eq!(results(&whole(&operator, &jobs[0]).await), [format!("{folder}/a")]);
    assert_eq!(results(&whole(&operator, &jobs[1]).await), [format!("{folder}/b")]);
    operator.close().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_floods_takes_too_long_or_is_absent_harms_nobody() {
    let home = Home::new();
    let world = home.world().await;
    let operator = world.operator().await;
    let steps = |name| vec![step(name, &[])];
    let absent = submit(&operator, steps("absent")).await;
    let (state, reason) = end(&whole(&operator, &absent[0]).await);
    assert_eq!(state, JobState::Failed);
    assert!(reason.contains("/no/such/program does not start"), "{reason}");

    let short = submit(&operator, steps("short")).await;
    let (state, reason) = end(&whole(&operator, &short[0]).await);
    assert_eq!(state, JobState::Failed);
    assert!(reason.contains("its time was over"), "{reason}");

    let flood = submit(&operator, steps("flood")).await;
    let events = whole(&operator, &flood[0]).await;
    assert_eq!(end(&events).0, JobState::Succeeded);
    assert!(lines(&events, JobStream::Stderr).contains(&"the end"));
    let size = |job: &str, name: &str| {
        std::fs::metadata(home.jobs.path().join(job).join(name)).unwrap().len()
    };
    assert_eq!(size(&flood[0], "stdout.log"), 100_000_001, "all of it");
    assert!(size(&flood[0], "events.jsonl") < 70 * 1024 * 1024);

    let capped = submit(&operator, steps("capped")).await;
    let events = whole(&operator, &capped[0]).await;
    assert_eq!(end(&events).0, JobState::Succeeded, "it never waits for a reader");
    assert_eq!(size(&capped[0], "stdout.log"), 1024 * 1024, "the most that its owner allows");
    assert!(noted(&events).contains(&"output_left_out"), "{events:?}");
    assert_eq!(lines(&events, JobStream::Stderr), ["the end"]);
    operator.close().await;
    world.end().await;
}

/// The program itself, with a folder that outlives it.
struct Node {
    home: Home,
    config: PathBuf,
    data: PathBuf,
}

impl Node {
    fn new() -> Self {
        let home = Home::new();
        let data = home.jobs.path().join("data");
        let jobs = home.jobs.path().join("jobs");
        let config = home.jobs.path().join("worker.toml");
        let text = format!(
            "files = '{}'\njobs_dir = '{}'\ndata_dir = '{}'\nvideo = 'none'\nlisten = '127.0.0.1:0'\n\
             {TEMPLATES}",
            home.files.path().display(),
            jobs.display(),
            data.display(),
        );
        std::fs::write(&config, text).unwrap();
        Self { home, config, data }
    }

    async fn start(&self) -> (Program, Session) {
        let config = self.config.to_str().unwrap();
        self.started(Program::start(&["standalone", "--config", config, "--json"])).await
    }

    /// Where no file may grow beyond so many MiB: the system answers as a full disk does.
    async fn start_with_files_up_to(&self, mib: u64) -> (Program, Session) {
        let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", mib * 2048);
        let worker = env!("CARGO_BIN_EXE_halyard-worker");
        let config = self.config.to_str().unwrap();
        let args = ["-c", &script, "sh", worker, "standalone", "--config", config, "--json"];
        self.started(Program::of("/bin/sh", &args)).await
    }

    async fn started(&self, mut program: Program) -> (Program, Session) {
        let room = program.json("room").await;
        let session = join(room["join_url"].as_str().expect("a link"), false).await;
        (program, session)
    }

    async fn killed(&self, mut program: Program, session: Session) {
        program.child.kill().await.unwrap();
        drop(session);
    }

    fn process(&self, job: &str) -> Value {
        let path = self.home.jobs.path().join("jobs").join(job).join("process.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_finds_its_jobs_again_and_misses_nothing() {
    let node = Node::new();
    let (program, session) = node.start().await;
    let jobs =
        submit(&session, vec![step("slow", &[]), step("say", &[("text", json!("two"))])]).await;
    let before = until(&session, &jobs[0], said("ready")).await;
    node.killed(program, session).await;

    // It goes on without a worker, and writes on.
    let go = node.home.files.path().join(format!("jobs/{}/go", jobs[0]));
    let exit = node.home.jobs.path().join("jobs").join(&jobs[0]).join("exit.json");
    std::fs::write(&go, "").unwrap();
    soon("the job's end", async {
        while !exit.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;

    let (mut program, session) = node.start().await;
    let events = whole(&session, &jobs[0]).await;
    assert_eq!(events[..before.len()], before[..], "what was told stays told");
    assert_eq!(lines(&events, JobStream::Stdout), ["ready", "went"]);
    assert_eq!(end(&events).0, JobState::Succeeded);
    assert_eq!(end(&whole(&session, &jobs[1]).await).0, JobState::Succeeded, "the queue goes on");
    session.close().await;
    program.signal("TERM");
    soon("the end", program.child.wait()).await.unwrap();
    assert!(node.data.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_outlives_its_worker_is_taken_up_and_can_be_cancelled() {
    let node = Node::new();
    let (program, session) = node.start().await;
    let jobs = submit(&session, vec![step("family", &[])]).await;
    until(&session, &jobs[0], said("ready")).await;
    let folder = node.home.files.path().join("jobs").join(&jobs[0]);
    node.killed(program, session).await;
    assert!(processes_in(&folder).len() >= 3, "it lives on");

    let (program, session) = node.start().await;
    let taken_up = |events: &[JobEvent]| {
        let note = |event: &JobEvent| matches!(&event.what, JobHappened::Note { code, .. } if code == "taken_up");
        events.iter().any(note)
    };
    let events = until(&session, &jobs[0], taken_up).await;
    assert_eq!(end(&events).0, JobState::Running);
    assert!(soon("an answer", session.cancel_job(&jobs[0])).await.expect("answered").ok);
    assert_eq!(end(&whole(&session, &jobs[0]).await).0, JobState::Cancelled);
    assert_eq!(processes_in(&folder), [0_i64; 0]);
    session.close().await;
    program.signal("TERM");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_keeper_died_too_is_lost_and_its_processes_are_ended() {
    let node = Node::new();
    let (program, session) = node.start().await;
    let jobs = submit(&session, vec![step("slow", &[])]).await;
    until(&session, &jobs[0], said("ready")).await;
    let folder = node.home.files.path().join("jobs").join(&jobs[0]);
    node.killed(program, session).await;
    let keeper = node.process(&jobs[0])["keeper"].to_string();
    let killed = std::process::Command::new("kill").args(["-9", &keeper]).status();
    assert!(killed.unwrap().success());
    assert!(!processes_in(&folder).is_empty(), "the program itself lives on");

    let (program, session) = node.start().await;
    let events = whole(&session, &jobs[0]).await;
    assert_eq!(end(&events).0, JobState::Lost);
    let gone = async {
        while !processes_in(&folder).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("no process is left");
    session.close().await;
    program.signal("TERM");
}

/// What the system answers to a process that writes to a file beyond its limit is what it answers on
/// a full disk.
fn limit(program: &Program, bytes: u64) {
    let pid = program.child.id().expect("it runs").to_string();
    let mut command = std::process::Command::new("prlimit");
    let status = command.args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
    assert!(status.expect("prlimit is part of the system").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_loses_lines_and_never_a_verdict() {
    let node = Node::new();
    let (program, session) = node.start_with_files_up_to(8).await;
    let jobs = submit(&session, vec![step("lines", &[])]).await;
    let events = whole(&session, &jobs[0]).await;
    assert_eq!(end(&events).0, JobState::Succeeded);
    let codes = noted(&events);
    assert!(codes.contains(&"disk_full") && codes.contains(&"output_left_out"), "{codes:?}");

    // Now not one byte more has room.
    let slow = submit(&session, vec![step("slow", &[])]).await.remove(0);
    let before = until(&session, &slow, said("ready")).await;
    limit(&program, 10);
    std::fs::write(node.home.files.path().join(format!("jobs/{slow}/go")), "").unwrap();
    let over = async {
        while !state(&session, &slow).await.is_over() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    soon("the job's end", over).await;
    let listed = soon("the list", session.list_jobs()).await.expect("listed");
    let reason = listed.jobs[0].reason.clone().unwrap_or_default();
    assert!(reason.contains("cannot be written down"), "{reason}");
    match soon("an answer", session.submit_jobs(vec![step("blind", &[])])).await {
        Err(JobsError::Refused(problems)) => assert_eq!(problems[0].code, JobErrorCode::Failed),
        other => panic!("{other:?}"),
    }
    let folders = std::fs::read_dir(node.home.jobs.path().join("jobs")).unwrap();
    let folders = folders.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(folders, 2, "what was refused leaves nothing behind");

    // Somebody made room: what was true is written down, and told to whoever waits for it.
    limit(&program, 8 * 1024 * 1024);
    let events = whole(&session, &slow).await;
    assert_eq!(events[..before.len()], before[..]);
    assert_eq!(end(&events).0, JobState::Succeeded);
    session.close().await;
    program.signal("TERM");
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_folders_are_reported_and_left_alone_and_the_others_go_on() {
    let node = Node::new();
    let (program, session) = node.start().await;
    let say = |text: &str| step("say", &[("text", json!(text))]);
    let broken = submit(&session, vec![say("one")]).await.remove(0);
    whole(&session, &broken).await;
    let cut = submit(&session, vec![say("two")]).await.remove(0);
    whole(&session, &cut).await;
    let runs = submit(&session, vec![step("slow", &[]), say("behind")]).await;
    until(&session, &runs[0], said("ready")).await;
    node.killed(program, session).await;
    let jobs = node.home.jobs.path().join("jobs");
    std::fs::write(jobs.join(&broken).join("job.json"), "{\"job\":").unwrap();
    let log = jobs.join(&cut).join("events.jsonl");
    let mut bytes = std::fs::read(&log).unwrap();
    let second = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 5;
    bytes[second] = 0;
    std::fs::write(&log, &bytes).unwrap();

    let (program, session) = node.start().await;
    let listed = soon("the list", session.list_jobs()).await.expect("listed");
    let unreadable: Vec<_> = listed.unreadable.iter().map(|job| job.job.as_str()).collect();
    assert_eq!(unreadable, [broken.as_str()]);
    assert!(listed.unreadable[0].reason.contains("cannot be read"), "{:?}", listed.unreadable);
    assert!(jobs.join(&broken).join("events.jsonl").exists(), "nothing of it is deleted");
    assert_eq!(std::fs::read(jobs.join(&cut).join("events.damaged-1")).unwrap(), bytes);
    let events = whole(&session, &cut).await;
    assert!(noted(&events).contains(&"damaged"), "{events:?}");
    assert_eq!(end(&events).0, JobState::Succeeded, "it is not run again, but its end is known");
    assert_eq!(lines(&events, JobStream::Stdout), ["two"]);
    std::fs::write(node.home.files.path().join(format!("jobs/{}/go", runs[0])), "").unwrap();
    assert_eq!(end(&whole(&session, &runs[0]).await).0, JobState::Succeeded);
    assert_eq!(end(&whole(&session, &runs[1]).await).0, JobState::Succeeded);
    session.close().await;
    program.signal("TERM");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_of_an_existing_client_stays_as_long_as_a_job_uses_it() {
    let home = Home::new();
    // Every moment is long enough, and it looks every second.
    let keep_unfinished = Some(std::time::Duration::ZERO);
    let settings = Settings { keep_unfinished, ..home.settings() };
    let world = World::with(settings, Broker::start(None).await).await;
    let operator = world.operator().await;
    let packages = home.files.path().join("packages");
    let (used, left) = ("client-0000000a", "client-0000000b");
    let value = ("package", json!(format!("packages/{used}/demo")));
    let jobs = submit(&operator, vec![step("hold", &[value])]).await;
    until(&operator, &jobs[0], said("holds packages/client-0000000a/demo")).await;
    std::fs::create_dir_all(packages.join(used).join("demo")).unwrap();
    std::fs::create_dir(packages.join("20261126")).unwrap();
    std::fs::create_dir(packages.join(left)).unwrap();
    let gone = async |folder: &str| {
        soon("a look", async {
            while packages.join(folder).exists() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    gone(left).await;
    assert!(packages.join(used).join("demo").exists(), "its job runs");
    std::fs::write(home.files.path().join(format!("jobs/{}/go", jobs[0])), "").unwrap();
    assert_eq!(end(&whole(&operator, &jobs[0]).await).0, JobState::Succeeded);
    gone(used).await;
    assert!(packages.join("20261126").exists(), "nobody but its owner made it");
    operator.close().await;
    world.end().await;
}
