//! The task that owns the world and lets its time pass.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use super::world::{GoalError, Point, VelocityCommand, World, WorldConfig, WorldState};

/// How often the world moves on: three times per picture, so that motion looks even.
const TICK: Duration = Duration::from_millis(10);

/// Commands that may wait.
const COMMANDS: usize = 8;

/// A running world. Dropping it ends the world; [`stop`](Self::stop) also waits for that.
pub struct Sim {
    handle: SimHandle,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

/// Moves the rover and looks at the world. Cloning gives another handle to the same world.
#[derive(Debug, Clone)]
pub struct SimHandle {
    velocity: watch::Sender<VelocityCommand>,
    state: watch::Receiver<WorldState>,
    commands: mpsc::Sender<Command>,
    config: WorldConfig,
}

#[derive(Debug)]
enum Command {
    Reset(oneshot::Sender<WorldState>),
    SetGoal(Point, oneshot::Sender<Result<WorldState, GoalError>>),
}

/// Why the world did not do what it was told.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SimError {
    /// The goal cannot be there.
    #[error(transparent)]
    Goal(#[from] GoalError),
    /// The world was stopped.
    #[error("the simulated world has ended")]
    Ended,
}

impl Sim {
    /// Starts a world. Must be called inside a Tokio runtime.
    pub fn start(config: WorldConfig) -> Self {
        let world = World::new(config.clone());
        let (show, state) = watch::channel(world.state().clone());
        let (velocity, wanted) = watch::channel(VelocityCommand::default());
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(world, wanted, inbox, show, stopped));
        let handle = SimHandle { velocity, state, commands, config };
        Self { handle, stop: Some(stop), task: Some(task) }
    }

    /// A handle to it.
    pub fn handle(&self) -> SimHandle {
        self.handle.clone()
    }

    /// Ends the world and waits until it has ended.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl SimHandle {
    /// The velocity to take from now on, until another is set. Whoever calls this is responsible for
    /// a watchdog: the world itself never forgets.
    pub fn set_velocity(&self, command: VelocityCommand) {
        self.velocity.send_replace(command);
    }

    /// Everything that can be known now, at most 10 ms old.
    pub fn state(&self) -> WorldState {
        self.state.borrow().clone()
    }

    /// The same, to wait for changes.
    pub fn watch(&self) -> watch::Receiver<WorldState> {
        self.state.clone()
    }

    /// What the world is like: the rover's limits among it.
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// Starts the world anew: the rover in the middle, standing still, its battery full.
    pub async fn reset(&self) -> Result<WorldState, SimError> {
        self.set_velocity(VelocityCommand::default());
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Reset(answer)).await.map_err(|_| SimError::Ended)?;
        answered.await.map_err(|_| SimError::Ended)
    }

    /// Puts the goal somewhere, in metres.
    pub async fn set_goal(&self, goal: Point) -> Result<WorldState, SimError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::SetGoal(goal, answer)).await.map_err(|_| SimError::Ended)?;
        Ok(answered.await.map_err(|_| SimError::Ended)??)
    }
}

async fn run(
    mut world: World,
    wanted: watch::Receiver<VelocityCommand>,
    mut inbox: mpsc::Receiver<Command>,
    show: watch::Sender<WorldState>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut last = Instant::now();
    loop {
        tokio::select! {
            // Stop first; then what people asked for; then time.
            biased;

            _ = &mut stopped => return,
            command = inbox.recv() => match command {
                Some(Command::Reset(answer)) => {
                    world = World::new(world.config().clone());
                    show.send_replace(world.state().clone());
                    // Who asked may be gone.
                    let _ = answer.send(world.state().clone());
                }
                Some(Command::SetGoal(goal, answer)) => {
                    let done = world.set_goal(goal).map(|()| world.state().clone());
                    show.send_replace(world.state().clone());
                    let _ = answer.send(done);
                }
                None => return,
            },
            now = ticks.tick() => {
                let command = *wanted.borrow();
                world.step(now.duration_since(last), command);
                last = now;
                show.send_replace(world.state().clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::float_cmp, reason = "a rover that never moved is exactly at 0")]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rover_follows_its_velocity_and_forgets_it_on_reset() {
        let sim = Sim::start(WorldConfig::default());
        let handle = sim.handle();
        handle.set_velocity(VelocityCommand { linear: 1.0, angular: 0.0 });
        let mut watch = handle.watch();
        let moving = watch.wait_for(|state| state.pose.y > 0.5).await.unwrap().clone();
        assert!((moving.speed - 1.0).abs() < 1e-9 && moving.pose.x.abs() < 1e-9);

        let reset = handle.reset().await.unwrap();
        assert_eq!((reset.pose.y, reset.speed), (0.0, 0.0));
        let later = watch.wait_for(|state| state.time > 1.0).await.unwrap().clone();
        assert_eq!(later.pose.y, 0.0, "it stands still");
        sim.stop().await;
        assert_eq!(handle.reset().await, Err(SimError::Ended));
    }

    #[tokio::test(start_paused = true)]
    async fn a_goal_can_be_set_inside_the_walls_only() {
        let sim = Sim::start(WorldConfig::default());
        let handle = sim.handle();
        let goal = Point { x: 0.0, y: 2.0 };
        assert_eq!(handle.set_goal(goal).await.unwrap().goal, goal);
        for bad in [99.0, f64::NAN, f64::INFINITY] {
            let error = handle.set_goal(Point { x: bad, y: 0.0 }).await.unwrap_err();
            assert!(error.to_string().contains("inside the walls"), "{error}");
        }
        sim.stop().await;
    }
}
