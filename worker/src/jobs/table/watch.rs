//! Looking after programs that run: what they print and report, and how they end.

use std::time::Instant;

use halyard_protocol::channel::{JobHappened, TrainerReport};

use super::{Table, job::now_ms};
use crate::{
    bridge::FromTrainer,
    jobs::{
        Input,
        keeper::{Exit, Fate},
        results,
        running::AT_THE_END,
    },
};

/// Things of a trainer that are no reports and are remarked on.
const REMARKS: u32 = 5;

impl Table {
    /// Looks at every program, and starts what may start.
    pub(in crate::jobs) async fn turn(&mut self) {
        let numbers: Vec<_> = self.jobs.keys().copied().collect();
        for number in numbers {
            self.listen_again(number).await;
            self.look(number);
        }
        while let Some(number) = self.next() {
            self.launch(number).await;
        }
    }

    /// A trainer said something.
    pub(in crate::jobs) fn heard(&mut self, job: &str, said: FromTrainer) {
        let now = self.started.elapsed();
        let Some(job) = self.find(job) else { return };
        let Some(running) = &mut job.running else { return };
        let read = match &said {
            FromTrainer::Report(text) => TrainerReport::read(text).ok_or("no report"),
            FromTrainer::NotUnderstood(why) => Err(*why),
        };
        match (said, read) {
            (FromTrainer::Report(report), Ok(read)) => {
                let remark = running.watch.heard(now, &read);
                if let Some(remark) = remark {
                    job.remark(&remark);
                }
                job.write(JobHappened::Progress { report });
            }
            (_, read) => {
                running.not_understood += 1;
                if running.not_understood <= REMARKS {
                    let why = read.err().unwrap_or("nothing known");
                    job.note("not_understood", format!("the trainer sent {why}"));
                }
            }
        }
        let name = job.spec.job.clone();
        self.news.push(name);
    }

    fn look(&mut self, number: u64) {
        let (clock, now) = (self.started.elapsed(), Instant::now());
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let limit = self.plan.templates.iter().find(|t| t.name == job.spec.step.template);
        let limit = limit.map(|template| template.time_limit);
        let before = job.log.last();
        job.write_what_waits();
        let Some(running) = &mut job.running else {
            if job.log.last() != before {
                self.news.push(job.spec.job.clone());
            }
            return;
        };
        let fate = running.fate();
        let output = running.output(job.log.takes_output());
        job.write_all(output);
        if fate == Fate::Kept {
            let Some(running) = &mut job.running else { return };
            if let Some(remark) = running.watch.look(clock) {
                job.remark(&remark);
            }
            let started = job.log.told().started_ms.unwrap_or_default();
            let ran = u128::from(now_ms().saturating_sub(started));
            if limit.is_some_and(|limit| ran >= limit.as_millis()) {
                let _ = job.take(Input::TimeUp);
            }
            let wish = job.life.wish();
            if let Some(running) = &mut job.running {
                running.insist(wish, now);
            }
            if job.log.last() != before {
                let name = job.spec.job.clone();
                self.news.push(name);
            }
        } else {
            self.over(number, fate);
        }
    }

    /// A job's program is over: its last words, its results, the verdict.
    pub(super) fn over(&mut self, number: u64, fate: Fate) {
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let Some(mut running) = job.running.take() else { return };
        let mut looked_at = running.looked_at();
        let end = looked_at + AT_THE_END;
        while looked_at < end {
            let output = running.output(job.log.takes_output());
            job.write_all(output);
            if running.looked_at() == looked_at {
                break;
            }
            looked_at = running.looked_at();
        }
        job.write_all(running.last_output());
        let input = match fate {
            Fate::Ended(Exit { not_started: Some(reason), .. }) => Input::Broken(reason),
            Fate::Ended(exit) => {
                let (out, err) = exit.left_out;
                if out + err > 0 {
                    job.note(
                        "output_left_out",
                        format!("{} bytes of output were too many", out + err),
                    );
                }
                Input::Exited { code: exit.code, signal: exit.signal }
            }
            Fate::Kept | Fate::Gone => Input::Vanished,
        };
        let template = self.plan.templates.iter().find(|t| t.name == job.spec.step.template);
        if let Some(template) = template {
            // Steps of one request share a folder: what an earlier one made is not this one's.
            let since = job.spec.after.as_ref().and(job.log.told().started_ms).unwrap_or(0);
            let folder = self.plan.files.join(&job.spec.folder);
            match results::find(&folder, &template.results, since) {
                Ok(found) => {
                    let folder = job.spec.folder.clone();
                    job.write_all(found.files.into_iter().map(|(name, size)| {
                        JobHappened::Result { path: format!("{folder}/{name}"), size }
                    }));
                    if !found.unreadable.is_empty() {
                        let words = found.unreadable.join("; ");
                        tracing::warn!(job = job.spec.job, words, "results may be missing");
                        job.note("results_left_out", format!("this cannot be read: {words}"));
                    }
                }
                Err(error) => job.note("no_results", format!("its folder cannot be read: {error}")),
            }
        }
        let _ = self.take(number, input);
    }
}
