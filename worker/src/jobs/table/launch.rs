//! Starting programs, and taking up those that the last worker started.

use std::{fs, io, path::Path};

use halyard_protocol::channel::{JobProblem, JobState};

use super::Table;
use crate::{
    bridge::{Bridge, Ports},
    jobs::{
        Input,
        keeper::{self, Fate},
        running::{Launch, Running},
        spec::{PORTS, Spec},
    },
};

type Prepared = (
    Box<dyn FnOnce() -> io::Result<tokio::process::Child> + Send>,
    Option<Bridge>,
    (std::time::Duration, std::time::Duration),
);

impl Table {
    /// Takes up what ran when the last worker ended: a program that lives is watched again, for
    /// any other the truth is found out.
    pub(in crate::jobs) async fn take_up(&mut self) {
        let numbers: Vec<_> = self.jobs.keys().copied().collect();
        for number in numbers {
            let Some(job) = self.jobs.get_mut(&number) else { continue };
            let state = job.life.state();
            if !matches!(state, JobState::Running | JobState::Stopping) {
                continue;
            }
            let template = self.plan.templates.iter().find(|t| t.name == job.spec.step.template);
            let (grace, silent) = template.map_or_else(Default::default, |template| {
                (template.stop_grace, template.silent_after)
            });
            let fate = keeper::fate(&job.dir).unwrap_or_else(|error| {
                tracing::error!(%error, job = job.spec.job, "a job cannot be looked at");
                // Not known is not gone: it is looked at again in the next turn.
                Fate::Kept
            });
            match fate {
                Fate::Kept => {
                    tracing::info!(job = job.spec.job, "a job goes on");
                    let ports: Option<Ports> = keeper::read_json(&job.dir, PORTS).ok();
                    let mut bridge = None;
                    if let Some(ports) = ports {
                        let tag = job.spec.job.clone();
                        match Bridge::start(Some(ports), tag, self.reports.clone()).await {
                            Ok(made) => bridge = Some(made),
                            Err(error) => job.note("no_progress", error.to_string()),
                        }
                    }
                    job.note("taken_up", "the worker was away; the job went on meanwhile".into());
                    let told = job.log.told().clone();
                    job.running =
                        Some(Running::new(&job.dir, None, bridge, &told, (grace, silent)));
                    self.news.push(job.spec.job.clone());
                }
                fate => {
                    let told = job.log.told().clone();
                    job.running = Some(Running::new(&job.dir, None, None, &told, (grace, silent)));
                    self.over(number, fate);
                }
            }
        }
    }

    pub(super) async fn launch(&mut self, number: u64) {
        let Some(job) = self.jobs.get(&number) else { return };
        let (name, dir) = (job.spec.job.clone(), job.dir.clone());
        match self.prepare(&job.spec.clone(), &dir).await {
            Ok((launch, bridge, times)) => {
                // Written down before it begins: a worker that dies in between finds it and says so.
                if self.take(number, Input::Start).is_err() {
                    return;
                }
                match launch() {
                    Ok(child) => {
                        let Some(job) = self.jobs.get_mut(&number) else { return };
                        let told = job.log.told().clone();
                        job.running = Some(Running::new(&dir, Some(child), bridge, &told, times));
                        tracing::info!(job = name, "a job begins");
                    }
                    Err(error) => {
                        let words = format!("its keeper does not start: {error}");
                        let _ = self.take(number, Input::Broken(words));
                    }
                }
            }
            Err(reason) => {
                let _ = self.take(number, Input::Broken(reason));
            }
        }
    }

    async fn prepare(&self, spec: &Spec, dir: &Path) -> Result<Prepared, String> {
        let template = self.plan.templates.iter().find(|t| t.name == spec.step.template);
        let template =
            template.ok_or("its template is not in the worker's configuration any more")?.clone();
        let command = template.fill("values", &spec.step.values, &self.plan.files);
        let command = command.map_err(|problems| {
            let said = |problem: &JobProblem| format!("{}: {}", problem.field, problem.message);
            problems.iter().map(said).collect::<Vec<_>>().join("; ")
        })?;
        let files = std::path::absolute(&self.plan.files).map_err(|error| error.to_string())?;
        let folder = files.join(&spec.folder);
        fs::create_dir_all(&folder)
            .map_err(|error| format!("its folder cannot be made: {error}"))?;
        let bridge = if template.has_bridge() {
            let bridge = Bridge::start(None, spec.job.clone(), self.reports.clone()).await;
            let bridge = bridge.map_err(|error| error.to_string())?;
            keeper::write_json(dir, PORTS, &bridge.ports()).map_err(|error| error.to_string())?;
            Some(bridge)
        } else {
            None
        };
        let env = template.env.iter();
        let env =
            env.filter_map(|name| Some((name.clone(), self.plan.environment.get(name)?.clone())));
        let (env, ports) = (env.collect(), bridge.as_ref().map(Bridge::ports));
        let (program, job, dir) = (self.plan.program.clone(), spec.job.clone(), dir.to_owned());
        let launch = move || {
            Running::launch(Launch {
                dir: &dir,
                keeper: &program,
                command,
                job: &job,
                folder: &folder,
                files: &files,
                env,
                ports,
            })
        };
        Ok((Box::new(launch), bridge, (template.stop_grace, template.silent_after)))
    }
}
