//! One driver program: started, watched, ended, and started again.

use std::{
    collections::HashMap,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::{
    io::{AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Asked, ExecError, STARTS_WITHIN, Shown, Wish,
    health::{HUNG, Health, Pauses, QUIET},
    lines::{Line, Lines},
    words::{Abilities, FromProgram, Outcome, ToProgram},
};
use crate::{driver::CommandError, machine::own_fields};

/// Velocities are said this often, changed or not.
const SAY: Duration = Duration::from_millis(50);

/// And each is good for this long: five lost turns.
const VALID: Duration = Duration::from_millis(300);

/// What a program does not read within this long it does not read.
const READS_WITHIN: Duration = Duration::from_millis(500);

/// A program that was told to quit has this long; and then this long after SIGTERM.
const QUITS_WITHIN: Duration = Duration::from_secs(2);
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// Longest line of a program, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// Of what it writes on its standard error, this much of a line goes to the log, and so many lines a
/// second.
const LOGGED_LINE: usize = 512;
const LOGGED_LINES: u32 = 20;

/// Commands that the program may be doing at a time; the machine has its own, lower bound.
const MOST_OPEN: usize = 64;

/// The program, once it has said hello.
pub(super) struct Program {
    command: Vec<String>,
    abilities: Arc<Abilities>,
    run: Option<Run>,
}

/// One run of it.
struct Run {
    child: Child,
    group: Option<Pid>,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    health: Health,
    n: u64,
    stops: u64,
    next_id: u64,
    open: HashMap<u64, oneshot::Sender<Result<Value, CommandError>>>,
    garbage: Option<Instant>,
    _stderr: AbortOnDropHandle<()>,
}

/// How a run ended.
enum Ended {
    /// The worker said so.
    Stopped,
    /// By itself, or because of what it did.
    Failed(String),
}

impl Program {
    /// Starts it and waits for its hello.
    pub(super) async fn start(command: Vec<String>) -> Result<Self, ExecError> {
        let name = command.first().cloned().unwrap_or_default();
        let mut run = Run::spawn(&command)
            .map_err(|source| ExecError::Spawn { program: name.clone(), source })?;
        match run.hello().await {
            Ok(abilities) => {
                tracing::info!(program = %name, driver = %abilities.name, "the driver program runs");
                Ok(Self { command, abilities: Arc::new(abilities), run: Some(run) })
            }
            Err(why) => {
                run.end(false).await;
                Err(ExecError::NoDriver { program: name, why })
            }
        }
    }

    pub(super) fn abilities(&self) -> Arc<Abilities> {
        Arc::clone(&self.abilities)
    }

    /// Serves until stopped; a program that ends or fails is started again, after growing pauses.
    pub(super) async fn keep(
        mut self,
        mut wished: watch::Receiver<Wish>,
        mut asked: mpsc::Receiver<Asked>,
        shown: Arc<Mutex<Shown>>,
        stop: CancellationToken,
    ) {
        let mut pauses = Pauses::default();
        loop {
            let started = Instant::now();
            let run = if let Some(run) = self.run.take() {
                Ok(run)
            } else {
                tokio::select! {
                    () = stop.cancelled() => return,
                    run = self.start_again() => run,
                }
            };
            let why = match run {
                Ok(mut run) => {
                    set_fault(&shown, None);
                    let abilities = Arc::clone(&self.abilities);
                    match run.serve(&abilities, &mut wished, &mut asked, &shown, &stop).await {
                        Ended::Stopped => return run.end(true).await,
                        Ended::Failed(why) => {
                            // Before it is ended, which may take seconds: it does not follow any more.
                            set_fault(&shown, Some(failed(&why)));
                            run.end(false).await;
                            why
                        }
                    }
                }
                Err(why) => why,
            };
            let pause = pauses.after(started.elapsed());
            set_fault(&shown, Some(failed(&why)));
            tracing::error!(%why, ?pause, "the driver program failed and is started again");
            // What was asked of it meanwhile is answered and not done later.
            let deadline = tokio::time::sleep(pause);
            tokio::pin!(deadline);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = &mut deadline => break,
                    Some(one) = asked.recv() => {
                        let why = "the driver program does not run at the moment".to_owned();
                        let _ = one.reply.send(Err(CommandError::Failed(why)));
                    }
                }
            }
        }
    }

    async fn start_again(&self) -> Result<Run, String> {
        let mut run = Run::spawn(&self.command).map_err(|error| error.to_string())?;
        match run.hello().await {
            Ok(abilities) if abilities == *self.abilities => Ok(run),
            Ok(_) => {
                run.end(false).await;
                Err("its hello is another one than at first; restart the worker to follow it"
                    .into())
            }
            Err(why) => {
                run.end(false).await;
                Err(why)
            }
        }
    }
}

impl Run {
    fn spawn(command: &[String]) -> std::io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        // Secrets of ours are none of its business.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HALYARD_") {
                command.env_remove(name);
            }
        }
        let mut child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let missing = || std::io::Error::other("it has no standard input or output");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        Ok(Self {
            child,
            group,
            stdin,
            lines: Lines::new(BufReader::new(stdout), LONGEST_LINE),
            health: Health::new(Instant::now()),
            n: 0,
            stops: 0,
            next_id: 0,
            open: HashMap::new(),
            garbage: None,
            _stderr: AbortOnDropHandle::new(tokio::spawn(log(BufReader::new(stderr)))),
        })
    }

    /// Its first line has to be a hello; what is no JSON before it is passed over.
    async fn hello(&mut self) -> Result<Abilities, String> {
        let hello = async {
            loop {
                match self.line().await? {
                    Some(FromProgram::Hello(hello)) => return hello.abilities(&own_fields()),
                    Some(_) => return Err("its first word was not hello".to_owned()),
                    None => {}
                }
            }
        };
        let hello = timeout(STARTS_WITHIN, hello).await;
        self.health = Health::new(Instant::now());
        hello.unwrap_or_else(|_| Err(format!("it did not say hello within {STARTS_WITHIN:?}")))
    }

    async fn serve(
        &mut self,
        abilities: &Abilities,
        wished: &mut watch::Receiver<Wish>,
        asked: &mut mpsc::Receiver<Asked>,
        shown: &Mutex<Shown>,
        stop: &CancellationToken,
    ) -> Ended {
        self.stops = wished.borrow().stops;
        let mut say = tokio::time::interval(SAY);
        say.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                // Stopping first, and what moves the machine before what the program says.
                biased;

                () = stop.cancelled() => return Ended::Stopped,
                _ = say.tick() => self.turn(wished, shown).await,
                changed = wished.changed() => match changed {
                    Ok(()) => self.wish(wished).await,
                    Err(_) => return Ended::Stopped,
                },
                line = self.line() => line.map(|word| {
                    if let Some(word) = word {
                        self.heard(word, abilities, shown);
                    }
                }),
                Some(one) = asked.recv() => self.command(one).await,
            };
            if let Err(why) = done {
                return Ended::Failed(why);
            }
        }
    }

    /// One word, or nothing where a line was none. Cancel safe.
    async fn line(&mut self) -> Result<Option<FromProgram>, String> {
        match self.lines.next().await {
            Line::Whole(line) => {
                let now = Instant::now();
                self.health.line(now, line.len())?;
                let word = serde_json::from_slice(&line);
                if let Err(error) = &word {
                    let told = self.garbage.replace(now);
                    if told.is_none_or(|told| now - told > Duration::from_secs(1)) {
                        let line = String::from_utf8_lossy(&line[..line.len().min(80)]);
                        tracing::warn!(?line, %error, "the driver program says what is no word of ours");
                    }
                }
                Ok(word.ok())
            }
            Line::TooLong(_) => Err(format!("it said a line of more than {LONGEST_LINE} bytes")),
            Line::End => Err(match timeout(ENDS_WITHIN, self.child.wait()).await {
                Ok(Ok(status)) => ended(status),
                _ => "it closed its standard output".to_owned(),
            }),
        }
    }

    async fn turn(
        &mut self,
        wished: &watch::Receiver<Wish>,
        shown: &Mutex<Shown>,
    ) -> Result<(), String> {
        self.wish(wished).await?;
        let given_up: Vec<u64> =
            self.open.iter().filter(|(_, reply)| reply.is_closed()).map(|(id, _)| *id).collect();
        for id in given_up {
            self.open.remove(&id);
            self.say(&ToProgram::Cancel { id }).await?;
        }
        let quiet = self.health.quiet_for(Instant::now());
        if quiet >= HUNG {
            return Err(format!("it did not follow for {} s", HUNG.as_secs()));
        }
        let fault = (quiet >= QUIET)
            .then(|| format!("the driver program has not followed for {} ms", QUIET.as_millis()));
        set_fault(shown, fault);
        Ok(())
    }

    async fn wish(&mut self, wished: &watch::Receiver<Wish>) -> Result<(), String> {
        let wish = *wished.borrow();
        if wish.stops != self.stops {
            self.stops = wish.stops;
            self.say(&ToProgram::Stop).await?;
        }
        self.n += 1;
        let (n, velocity) = (self.n, wish.velocity);
        let valid_ms = VALID.as_millis() as u64;
        self.say(&ToProgram::Velocity { n, velocity, valid_ms }).await?;
        self.health.sent(Instant::now(), n);
        Ok(())
    }

    async fn command(&mut self, asked: Asked) -> Result<(), String> {
        if self.open.len() >= MOST_OPEN {
            let why = "the driver program does too much already".to_owned();
            let _ = asked.reply.send(Err(CommandError::Failed(why)));
            return Ok(());
        }
        self.next_id += 1;
        let id = self.next_id;
        self.open.insert(id, asked.reply);
        self.say(&ToProgram::Command { id, name: &asked.name, args: &asked.args }).await
    }

    fn heard(&mut self, word: FromProgram, abilities: &Abilities, shown: &Mutex<Shown>) {
        match word {
            FromProgram::State(state) => {
                self.health.echoed(state.n);
                let state = state.told(&abilities.fields);
                shown.lock().unwrap_or_else(PoisonError::into_inner).state = state;
            }
            FromProgram::Result(Outcome { id, ok, result, error, code }) => {
                // One that was called off is not waited for any more.
                let Some(reply) = self.open.remove(&id) else { return };
                let _ = reply.send(match (ok, code.as_str()) {
                    (true, _) => Ok(result),
                    (false, "bad_arguments") => Err(CommandError::BadArguments(error)),
                    (false, _) if error.is_empty() => {
                        Err(CommandError::Failed("the machine did not say why".to_owned()))
                    }
                    (false, _) => Err(CommandError::Failed(error)),
                });
            }
            FromProgram::Hello(_) => tracing::debug!("the driver program said hello again"),
        }
    }

    async fn say(&mut self, word: &ToProgram<'_>) -> Result<(), String> {
        match timeout(READS_WITHIN, self.stdin.write_all(&word.line())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(match timeout(ENDS_WITHIN, self.child.wait()).await {
                Ok(Ok(status)) => ended(status),
                _ => "it closed its standard input".to_owned(),
            }),
            Err(_) => Err(format!("it did not read what it was told for {READS_WITHIN:?}")),
        }
    }

    /// Whatever happens, nothing of it is left: a program that does not end is killed, and every
    /// process of its group with it.
    async fn end(mut self, politely: bool) {
        if politely {
            let _ = self.say(&ToProgram::Stop).await;
            let _ = self.say(&ToProgram::Quit).await;
        }
        drop(self.stdin);
        if !politely || timeout(QUITS_WITHIN, self.child.wait()).await.is_err() {
            signal(self.group, Signal::TERM);
            let _ = timeout(ENDS_WITHIN, self.child.wait()).await;
        }
        signal(self.group, Signal::KILL);
        let _ = timeout(ENDS_WITHIN, self.child.wait()).await;
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // None of them is left: that is what was wanted.
        let _ = kill_process_group(group, signal);
    }
}

fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with code {code}"),
        (None, Some(signal)) => format!("it was killed by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

fn failed(why: &str) -> String {
    format!("the driver program failed: {why}")
}

fn set_fault(shown: &Mutex<Shown>, fault: Option<String>) {
    shown.lock().unwrap_or_else(PoisonError::into_inner).fault = fault;
}

/// What the program writes on its standard error, for people.
async fn log(stderr: BufReader<tokio::process::ChildStderr>) {
    let mut lines = Lines::new(stderr, LOGGED_LINE);
    let (mut second, mut count, mut left_out) = (Instant::now(), 0, 0_u64);
    loop {
        let line = match lines.next().await {
            Line::Whole(line) | Line::TooLong(line) => line,
            Line::End => return,
        };
        if second.elapsed() >= Duration::from_secs(1) {
            if left_out > 0 {
                tracing::warn!(
                    left_out,
                    "the driver program writes too many lines to log them all"
                );
            }
            (second, count, left_out) = (Instant::now(), 0, 0);
        }
        count += 1;
        if count > LOGGED_LINES {
            left_out += 1;
            continue;
        }
        let line = String::from_utf8_lossy(&line);
        tracing::info!(target: "halyard_worker::driver::program", "{}", line.escape_debug());
    }
}
