//! What is said between the worker and a driver program: one JSON object a line, both ways.
//!
//! `docs/drivers.md` describes it for those who write a program.

use std::collections::HashSet;

use halyard_protocol::{
    access::Access,
    channel::{ActionSpec, TelemetryField},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::{Action, DriverState, Point, Pose};
use crate::drive::{Limits, Velocity};

/// The version of these words.
pub(super) const PROTOCOL: u32 = 1;

/// Commands and fields that a program may have: more is a mistake, and `HELLO::` has its bounds.
const MOST: usize = 64;

/// Longest name of a command or a field, in bytes.
const MOST_NAME: usize = 64;

/// Longest help text, in bytes.
const MOST_HELP: usize = 300;

/// Bytes of the program's own values in one report: they go out twenty times a second.
const MOST_VALUES: usize = 8 * 1024;

/// Towards the program.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToProgram<'a> {
    /// Go like this, for at most `valid_ms`; then stop, unless another one came.
    Velocity {
        /// Counts up. To be echoed in the next `state`.
        n: u64,
        #[serde(flatten)]
        velocity: Velocity,
        valid_ms: u64,
    },
    /// Stop as hard as the machine can.
    Stop,
    /// Do something once, and say `result` with this id.
    Command { id: u64, name: &'a str, args: &'a Value },
    /// Call it off, and leave the machine standing.
    Cancel { id: u64 },
    /// Stop the machine and end.
    Quit,
}

impl ToProgram<'_> {
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("string keys and finite depth");
        line.push(b'\n');
        line
    }
}

/// From the program.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromProgram {
    Hello(Hello),
    State(Box<State>),
    Result(Outcome),
}

/// Its first line.
#[derive(Debug, Deserialize)]
pub(super) struct Hello {
    protocol: u32,
    name: String,
    #[serde(default)]
    velocity: Option<Speeds>,
    #[serde(default)]
    commands: Vec<Offered>,
    #[serde(default)]
    fields: Vec<TelemetryField>,
}

#[derive(Debug, Deserialize)]
struct Speeds {
    max_linear: f64,
    max_reverse: Option<f64>,
    max_angular: f64,
    linear_acceleration: Option<f64>,
    linear_braking: Option<f64>,
    angular_acceleration: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Offered {
    name: String,
    #[serde(default)]
    help: String,
    #[serde(default = "operator")]
    access: Access,
    #[serde(default)]
    moves: bool,
}

fn operator() -> Access {
    Access::Operator
}

/// What a program can do.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Abilities {
    pub(super) name: String,
    pub(super) limits: Option<Limits>,
    pub(super) actions: Vec<Action>,
    pub(super) fields: Vec<TelemetryField>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct State {
    /// Of the newest `velocity` that was read.
    pub(super) n: u64,
    pose: Option<Pose>,
    #[serde(default)]
    speed: f64,
    #[serde(default)]
    angular_speed: f64,
    battery: Option<f64>,
    goal: Option<Point>,
    distance_to_goal: Option<f64>,
    #[serde(default)]
    values: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Outcome {
    pub(super) id: u64,
    pub(super) ok: bool,
    #[serde(default)]
    pub(super) result: Value,
    #[serde(default)]
    pub(super) error: String,
    #[serde(default)]
    pub(super) code: String,
}

impl Hello {
    /// Checked: what a program says goes to everybody.
    pub(super) fn abilities(self, taken: &[String]) -> Result<Abilities, String> {
        if self.protocol != PROTOCOL {
            return Err(format!(
                "its hello says protocol {}, this worker speaks {PROTOCOL}",
                self.protocol
            ));
        }
        name_fits("its name", &self.name)?;
        let mut known: HashSet<&str> = HashSet::new();
        let mut actions = Vec::new();
        if self.commands.len() > MOST || self.fields.len() > MOST {
            return Err(format!("its hello has more than {MOST} commands or fields"));
        }
        for command in &self.commands {
            name_fits("a command's name", &command.name)?;
            if !known.insert(&command.name) {
                return Err(format!("its hello names the command {:?} twice", command.name));
            }
            let help = shortened(&command.help);
            let spec = ActionSpec { name: command.name.clone(), help, access: command.access };
            actions.push(Action { spec, moves: command.moves });
        }
        let mut known: HashSet<&str> = taken.iter().map(String::as_str).collect();
        let mut fields = Vec::new();
        for field in &self.fields {
            name_fits("a field's name", &field.name)?;
            if !known.insert(&field.name) {
                return Err(format!(
                    "its hello names the field {:?}, which is there already",
                    field.name
                ));
            }
            let unit = field.unit.as_deref().map(shortened);
            fields.push(TelemetryField { help: shortened(&field.help), unit, ..field.clone() });
        }
        let limits = self.velocity.map(|speeds| speeds.limits()).transpose()?;
        Ok(Abilities { name: self.name, limits, actions, fields })
    }
}

impl Speeds {
    fn limits(&self) -> Result<Limits, String> {
        let standard = Limits::default();
        let max_reverse = self.max_reverse.unwrap_or(self.max_linear);
        let linear_acceleration = self.linear_acceleration.unwrap_or(standard.linear_acceleration);
        let limits = Limits {
            max_linear: self.max_linear,
            max_reverse,
            max_angular: self.max_angular,
            linear_acceleration,
            linear_braking: self.linear_braking.unwrap_or(linear_acceleration * 2.0),
            angular_acceleration: self
                .angular_acceleration
                .unwrap_or(standard.angular_acceleration),
            ..standard
        };
        let speeds = [limits.max_linear, limits.max_reverse, limits.max_angular];
        let rates =
            [limits.linear_acceleration, limits.linear_braking, limits.angular_acceleration];
        if speeds.iter().any(|speed| !speed.is_finite() || *speed < 0.0)
            || rates.iter().any(|rate| !rate.is_finite() || *rate <= 0.0)
        {
            return Err(
                "a limit in its hello is negative, or an acceleration is not above 0".into()
            );
        }
        if limits.linear_braking < limits.linear_acceleration {
            return Err("its hello says that it brakes slower than it gets faster".into());
        }
        Ok(limits)
    }
}

impl State {
    /// What is told to peers: of its own values those that it announced, as long as they are small.
    pub(super) fn told(self, fields: &[TelemetryField]) -> DriverState {
        let mut bytes = 0;
        let values = self.values.into_iter().filter(|(name, value)| {
            bytes += name.len() + value.to_string().len();
            bytes <= MOST_VALUES && fields.iter().any(|field| field.name == *name)
        });
        DriverState {
            values: values.collect(),
            pose: self.pose,
            speed: self.speed,
            angular_speed: self.angular_speed,
            battery: self.battery,
            goal: self.goal,
            distance_to_goal: self.distance_to_goal,
        }
    }
}

fn name_fits(what: &str, name: &str) -> Result<(), String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_-. ".contains(c);
    if name.is_empty() || name.len() > MOST_NAME || !name.chars().all(good) {
        return Err(format!(
            "{what} in its hello is {name:?}; accepted are 1 to {MOST_NAME} letters, digits, _, - and dots"
        ));
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    let mut end = text.len().min(MOST_HELP);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn abilities(line: &str) -> Result<Abilities, String> {
        match serde_json::from_str(line) {
            Ok(FromProgram::Hello(hello)) => hello.abilities(&["speed".to_owned()]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hello_says_what_the_machine_can_do() {
        let told = abilities(
            r#"{"type":"hello","protocol":1,"name":"board","velocity":{"max_linear":1.0,"max_angular":2.0},
                "commands":[{"name":"lamp","help":"Light."}],
                "fields":[{"name":"heat","unit":"°C","help":"of the motor","reliable":true}]}"#,
        )
        .expect("fits");
        let limits = told.limits.expect("drivable");
        assert!((limits.max_reverse - 1.0).abs() < 1e-9);
        assert_eq!(told.actions[0].spec.access, Access::Operator, "the careful way round");
        assert!(told.fields[0].reliable);
    }

    #[test]
    fn a_hello_that_does_not_fit_says_why() {
        for (line, said) in [
            (r#"{"type":"hello","protocol":2,"name":"x"}"#, "protocol 2"),
            (r#"{"type":"hello","protocol":1,"name":""}"#, "accepted are 1 to 64"),
            (
                r#"{"type":"hello","protocol":1,"name":"x","commands":[{"name":"a"},{"name":"a"}]}"#,
                "twice",
            ),
            (
                r#"{"type":"hello","protocol":1,"name":"x","fields":[{"name":"speed","help":""}]}"#,
                "there already",
            ),
            (
                r#"{"type":"hello","protocol":1,"name":"x","velocity":{"max_linear":-1,"max_angular":1}}"#,
                "negative",
            ),
        ] {
            let error = abilities(line).expect_err(line);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_report_holds_what_was_announced_and_no_more() {
        let line = format!(
            r#"{{"type":"state","n":3,"speed":0.5,"values":{{"heat":40,"other":1,"log":"{}"}}}}"#,
            "x".repeat(20_000)
        );
        let Ok(FromProgram::State(state)) = serde_json::from_str(&line) else { panic!("a state") };
        let field = |name: &str| TelemetryField {
            name: name.to_owned(),
            unit: None,
            help: String::new(),
            reliable: false,
        };
        let told = state.told(&[field("heat"), field("log")]);
        assert_eq!(told.values.keys().collect::<Vec<_>>(), ["heat"]);
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_panic(line in ".{0,200}") {
            let _ = serde_json::from_str::<FromProgram>(&line);
        }
    }
}
