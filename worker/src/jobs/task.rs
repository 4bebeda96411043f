//! The jobs' own task: questions, reports and time in, answers out.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use halyard_protocol::channel::{
    Ack, JobEntries, JobErrorCode, JobEventPage, JobEventsFrom, JobList, JobRejected, Message,
};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Ask, Inner, Load, refused, table::Table};

/// How often programs are looked at.
const TURN: Duration = Duration::from_millis(100);

/// Bytes of one answer, so that it stays inside a channel message.
const MOST_BYTES: usize = 40 * 1024;

/// Folders that cannot be read and are told: somebody has to look at the worker anyway.
const MOST_UNREADABLE: usize = 16;

/// People who wait for news of one job.
const MOST_WAITING: usize = 256;

/// Somebody waits for events that have not happened yet.
struct Waiting {
    asked: JobEventsFrom,
    reply: oneshot::Sender<Message>,
}

pub(super) async fn run(
    mut table: Table,
    mut asks: mpsc::Receiver<Ask>,
    mut own: mpsc::Receiver<Inner>,
    load: watch::Sender<Load>,
    stop: CancellationToken,
) {
    let Some(mut reports) = table.reported() else { return };
    table.take_up().await;
    let mut waiting: HashMap<String, Vec<Waiting>> = HashMap::new();
    let mut turn = tokio::time::interval(TURN);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // The end first; questions before reports, of which a trainer may send very many.
            biased;

            () = stop.cancelled() => return,
            ask = asks.recv() => match ask {
                Some(ask) => {
                    // Whoever only looks must not make the worker look oftener.
                    let acts = !matches!(
                        ask.message,
                        Message::JobEventsFrom(_) | Message::JobList(_)
                    );
                    answer(&mut table, ask, &mut waiting);
                    if acts {
                        table.turn().await;
                    }
                }
                None => return,
            },
            _ = turn.tick(), if !table.is_idle() => table.turn().await,
            Some(own) = own.recv() => match own {
                Inner::InUse(reply) => {
                    let _ = reply.send(table.in_use());
                }
                Inner::Tune { job, rate, reply } => {
                    let _ = reply.send(table.tune(&job, rate, Instant::now()));
                }
            },
            Some((job, said)) = reports.recv() => table.heard(&job, said),
        }
        tell_news(&mut table, &mut waiting);
        load.send_if_modified(|told| std::mem::replace(told, table.load()) != table.load());
    }
}

fn answer(table: &mut Table, ask: Ask, waiting: &mut HashMap<String, Vec<Waiting>>) {
    let Ask { asker, message, reply } = ask;
    let answer = match &message {
        _ if !asker.access.may_operate() => {
            refused(&message, JobErrorCode::Forbidden, "jobs need the operator's token")
        }
        Message::JobSubmit(submit) => match table.submit(&asker.peer, submit) {
            Ok(accepted) => Message::JobAccepted(accepted),
            Err(errors) => Message::JobRejected(JobRejected { id: submit.id.clone(), errors }),
        },
        Message::JobList(list) => Message::JobEntries(entries(table, list)),
        Message::JobStop(end) | Message::JobCancel(end) => {
            let cancel = matches!(message, Message::JobCancel(_));
            let id = end.id.clone();
            match table.end(&end.job, cancel) {
                Some(Ok(state)) => {
                    tracing::info!(peer = %asker.peer, job = end.job, cancel, "asked to end");
                    Message::Ack(Ack::done(id, json!({ "job": end.job, "state": state })))
                }
                Some(Err(refusal)) => Message::Ack(Ack::failed(
                    id,
                    JobErrorCode::WrongState.as_str(),
                    refusal.to_string(),
                )),
                None => refused(&message, JobErrorCode::UnknownJob, UNKNOWN),
            }
        }
        Message::JobEventsFrom(asked) => {
            if let Some(page) = page(table, asked) {
                page
            } else {
                let queue = waiting.entry(asked.job.clone()).or_default();
                queue.retain(|waiting| !waiting.reply.is_closed());
                if queue.len() < MOST_WAITING {
                    queue.push(Waiting { asked: asked.clone(), reply });
                    return;
                }
                refused(&message, JobErrorCode::TooMany, "too many wait for this job already")
            }
        }
        _ => refused(&message, JobErrorCode::Failed, "that is no question about jobs"),
    };
    // Whoever asked may be gone.
    let _ = reply.send(answer);
}

const UNKNOWN: &str = "there is no such job; see JOB_LIST for those that there are";

/// The answer, if there is one already.
fn page(table: &mut Table, asked: &JobEventsFrom) -> Option<Message> {
    let question = || Message::JobEventsFrom(asked.clone());
    match table.events(&asked.job, asked.from, MOST_BYTES) {
        None => Some(refused(&question(), JobErrorCode::UnknownJob, UNKNOWN)),
        Some(Err(error)) => {
            tracing::error!(%error, job = asked.job, "a job's events cannot be read");
            let words = format!("its events cannot be read: {error}");
            Some(refused(&question(), JobErrorCode::Failed, &words))
        }
        Some(Ok((events, over))) if over || !events.is_empty() => {
            let next = events.last().map_or(asked.from.max(1), |event| event.n + 1);
            let (id, job) = (asked.id.clone(), asked.job.clone());
            Some(Message::JobEventPage(JobEventPage { id, job, events, next, over }))
        }
        Some(Ok(_)) => None,
    }
}

fn tell_news(table: &mut Table, waiting: &mut HashMap<String, Vec<Waiting>>) {
    for job in table.news() {
        for Waiting { asked, reply } in waiting.remove(&job).unwrap_or_default() {
            if reply.is_closed() {
                continue;
            }
            match page(table, &asked) {
                Some(page) => drop(reply.send(page)),
                None => waiting.entry(job.clone()).or_default().push(Waiting { asked, reply }),
            }
        }
    }
}

/// As many jobs as fit.
fn entries(table: &Table, list: &JobList) -> JobEntries {
    let jobs = table.list();
    let mut entries = JobEntries {
        id: list.id.clone(),
        total: jobs.len() as u64,
        jobs: Vec::new(),
        templates: Vec::new(),
        unreadable: Vec::new(),
    };
    if list.offset == 0 {
        entries.templates = table.templates();
        entries.unreadable = table.unreadable().iter().take(MOST_UNREADABLE).cloned().collect();
    }
    let mut bytes = Message::JobEntries(entries.clone()).encode().len();
    for job in jobs.skip(usize::try_from(list.offset).unwrap_or(usize::MAX)) {
        bytes += serde_json::to_string(&job).map_or(0, |text| text.len());
        if bytes > MOST_BYTES && !entries.jobs.is_empty() {
            break;
        }
        entries.jobs.push(job);
    }
    entries
}
