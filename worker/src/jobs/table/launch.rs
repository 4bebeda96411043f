//! Starting programs, and taking up those that the last worker started.

use std::{fs, path::Path};

use halyard_protocol::channel::{JobProblem, JobState};

use super::{Table, job::Job};
use crate::{
    bridge::{Bridge, Ports},
    jobs::{
        Filled, Input, Own,
        keeper::{self, Fate, Run},
        running::{Running, Times},
        spec::{GPUS, PORTS, Spec},
    },
};

/// The variable by which programs find the graphics cards that are theirs.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";

/// A program that is about to begin.
struct Prepared {
    run: Run,
    bridge: Option<Bridge>,
    times: Times,
}

impl Table {
    /// Takes up what ran when the last worker ended: a program that lives is watched again, for
    /// any other the truth is found out.
    pub(in crate::jobs) async fn take_up(&mut self) {
        let now = self.started.elapsed();
        let numbers: Vec<_> = self.jobs.keys().copied().collect();
        for number in numbers {
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            if !matches!(job.life.state(), JobState::Running | JobState::Stopping) {
                continue;
            }
            let template = self.plan.templates.iter().find(|t| t.name == job.spec.step.template);
            let times = template.map_or_else(Times::default, Times::of);
            let fate = keeper::fate(&job.dir).unwrap_or_else(|error| {
                tracing::error!(%error, job = job.spec.job, "a job cannot be looked at");
                // Not known is not gone: it is looked at again in the next turn.
                Fate::Kept
            });
            let told = job.log.told().clone();
            let mut running = Running::new(&job.dir, None, None, &told, times, now);
            if fate == Fate::Kept {
                tracing::info!(job = job.spec.job, "a job goes on");
                job.note("taken_up", "the worker was away; the job went on meanwhile".into());
                running.listens_on = keeper::read_json(&job.dir, PORTS).ok();
                job.running = Some(running);
                self.news.push(job.spec.job.clone());
                self.listen_again(number).await;
            } else {
                job.running = Some(running);
                self.over(number, fate);
            }
        }
    }

    /// Makes the bridge of a program that was taken up. Where somebody else has its ports meanwhile,
    /// that is said once, and tried again in every turn: the trainer knows no others.
    pub(super) async fn listen_again(&mut self, number: u64) {
        let reports = self.reports.clone();
        let Some(job) = self.jobs.get_mut(&number) else { return };
        let Some(running) = &mut job.running else { return };
        let (Some(ports), None) = (running.listens_on, &running.bridge) else { return };
        match Bridge::start(Some(ports), job.spec.job.clone(), reports).await {
            Ok(made) => running.bridge = Some(made),
            Err(error) => {
                if !std::mem::replace(&mut running.said_deaf, true) {
                    let words = format!("{error}; it is tried again until that works");
                    job.note("no_progress", words);
                }
            }
        }
    }

    pub(super) async fn launch(&mut self, number: u64) {
        let Some(job) = self.jobs.get(&number) else { return };
        let (spec, dir) = (job.spec.clone(), job.dir.clone());
        let cards = self.cards_for(number);
        let prepared = match self.prepare(&spec, &dir, &cards).await {
            Ok(prepared) => prepared,
            Err(reason) => {
                let _ = self.take(number, Input::Broken(reason));
                return;
            }
        };
        if let Some(job) = self.jobs.get_mut(&number) {
            job.gpus = cards;
        }
        // Written down before it begins: a worker that dies in between finds it and says so.
        if self.take(number, Input::Start).is_err() {
            return;
        }
        let child = if self.jobs.get(&number).is_some_and(Job::is_written) {
            keeper::start(&self.plan.program, &dir, &prepared.run)
                .map_err(|error| format!("its keeper does not start: {error}"))
        } else {
            Err("the disk of jobs_dir has no room for what happens to it".to_owned())
        };
        let now = self.started.elapsed();
        match (child, self.jobs.get_mut(&number)) {
            (Ok(child), Some(job)) => {
                let told = job.log.told().clone();
                let Prepared { bridge, times, .. } = prepared;
                job.running = Some(Running::new(&dir, Some(child), bridge, &told, times, now));
                tracing::info!(job = spec.job, gpus = ?job.gpus, "a job begins");
            }
            (Err(words), _) => drop(self.take(number, Input::Broken(words))),
            (Ok(_), None) => {}
        }
    }

    async fn prepare(&self, spec: &Spec, dir: &Path, cards: &[String]) -> Result<Prepared, String> {
        let template = self.template(&spec.step.template);
        let template =
            template.ok_or("its template is not in the worker's configuration any more")?;
        let (needs, there) = (template.gpus as usize, self.plan.gpus.len());
        if there > 0 && needs > there {
            return Err(format!("it needs {needs} graphics cards, and job_gpus names {there}"));
        }
        let command = template.fill("values", &spec.step.values, &self.plan.files);
        let command = command.map_err(|problems| {
            let said = |problem: &JobProblem| format!("{}: {}", problem.field, problem.message);
            problems.iter().map(said).collect::<Vec<_>>().join("; ")
        })?;
        let failed = |error: std::io::Error| error.to_string();
        let files = std::path::absolute(&self.plan.files).map_err(failed)?;
        let folder = files.join(&spec.folder);
        fs::create_dir_all(&folder)
            .map_err(|error| format!("its folder cannot be made: {error}"))?;
        let mut bridge = None;
        if template.has_bridge() {
            let made = Bridge::start(None, spec.job.clone(), self.reports.clone()).await;
            let made = made.map_err(|error| error.to_string())?;
            keeper::write_json(dir, PORTS, &made.ports()).map_err(failed)?;
            bridge = Some(made);
        }
        let ports = bridge.as_ref().map(Bridge::ports);
        let port = |which: fn(&Ports) -> u16| ports.as_ref().map(which).unwrap_or_default();
        let own = |own: Own| match own {
            Own::Job => spec.job.clone(),
            Own::Folder => folder.display().to_string(),
            Own::Files => files.display().to_string(),
            Own::ControlPort => port(|ports| ports.control).to_string(),
            Own::ProgressPort => port(|ports| ports.progress).to_string(),
        };
        let text = |parts: &Vec<Filled>| -> String {
            let text = |part: &Filled| match part {
                Filled::Text(text) => text.clone(),
                Filled::Own(which) => own(*which),
            };
            parts.iter().map(text).collect()
        };
        let of_ours = template.env.iter();
        let of_ours = of_ours
            .filter_map(|name| Some((name.clone(), self.plan.environment.get(name)?.clone())));
        let mut env: std::collections::BTreeMap<_, _> = of_ours.collect();
        env.extend(command.set.iter().map(|(name, parts)| (name.clone(), text(parts))));
        if there > 0 {
            // A job that needs none is shown none.
            env.insert(VISIBLE.to_owned(), cards.join(","));
            keeper::write_json(dir, GPUS, &cards).map_err(failed)?;
        }
        let run = Run {
            argv: command.run.iter().map(text).collect(),
            env,
            cwd: command.cwd.as_ref().map_or_else(|| folder.clone(), |parts| text(parts).into()),
            most_output: template.output_limit,
        };
        Ok(Prepared { run, bridge, times: Times::of(template) })
    }
}
