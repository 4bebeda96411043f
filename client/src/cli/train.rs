//! `halyard train`: send a package, run the worker's templates on it, follow, fetch the results.

use std::{collections::BTreeMap, path::PathBuf};

use halyard_protocol::{
    channel::{JobStep, JobTemplateInfo},
    transfer::RelativeName,
};
use serde_json::json;

use super::{
    args::Train,
    exit::CliError,
    follow::Following,
    output::printable,
    progress::Bars,
    rehearsal::rehearse,
    results::{self, Place},
    send::Outgoing,
    session::Context,
};

/// The value of a template that names the package.
pub(super) const PACKAGE: &str = "package";

/// The worker's folder for packages.
const PACKAGES: &str = "packages";

pub(super) async fn run(context: &Context<'_>, mut args: Train) -> Result<(), CliError> {
    let link = context.link(&mut args.words)?;
    let package = (!args.words.is_empty()).then(|| PathBuf::from(args.words.remove(0)));
    Context::nothing_more(&args.words)?;
    // Before anybody is called: a typo should not cost a connection.
    let package = package.as_deref().map(|path| Outgoing::plan(path, PACKAGES)).transpose()?;
    if let Some(package) = &package {
        if args.unpack {
            package.may_be_unpacked()?;
        }
        package.tell_skipped(context.output)?;
    }
    let name = package.as_ref().map(|package| {
        let unpacked = if args.unpack { package.unpacked() } else { None };
        unpacked.unwrap_or_else(|| package.name.clone())
    });
    let place = args.output.map(Place::new);
    let store = match &place {
        Some(place) => Some(place.open().await?),
        None => None,
    };
    let mut options = context.patient_options(&link)?;
    options.choice.least_busy = true;
    let mut following = Following::new(args.plain);
    let result = context
        .in_session(link, options, async |session| {
            // Before anything is sent, for the same reason.
            let offered = session.list_jobs().await?.templates;
            let name = name.as_ref().map(RelativeName::as_str);
            let steps = steps(&args.template, &args.set, name, &offered)?;
            if let (Some(package), Some(name)) = (&package, name) {
                // A typo should not cost an hour of sending either.
                rehearse(session, &steps, name).await?;
                // Trained with once more, a data set is the one that is sent now.
                package.send(session, &Bars::new(context.output), true).await?;
                if args.unpack {
                    let unpacked = package.unpack(context.output, session, true).await;
                    // It was sent for what is in it. Refused, it is of no use either.
                    package.remove_archive(session).await;
                    unpacked?;
                }
            }
            let accepted = session.submit_jobs(steps).await?;
            for job in &accepted.jobs {
                context.output.object(&json!({ "event": "submitted", "job": job }))?;
                context.output.line(format!("submitted {}", printable(job)))?;
            }
            if args.detach {
                return Ok(());
            }
            following.these(&accepted.jobs, &session.list_jobs().await?.jobs);
            following.run(context, session).await?;
            match &store {
                Some(store) if !following.was_left() => {
                    results::fetch(context, session, store, &following.results()).await
                }
                _ => Ok(()),
            }
        })
        .await;
    following.finish(context, result)
}

/// What to ask for: each template with those values that are meant for it.
fn steps(
    templates: &[String],
    sets: &[(String, String)],
    package: Option<&str>,
    offered: &[JobTemplateInfo],
) -> Result<Vec<JobStep>, CliError> {
    let mut steps = Vec::new();
    let mut known = Vec::new();
    for template in templates {
        let found = offered.iter().find(|offered| offered.name == *template).ok_or_else(|| {
            let names: Vec<_> = offered.iter().map(|offered| printable(&offered.name)).collect();
            CliError::usage(format!(
                "there is no template {template:?}; there are: {}",
                names.join(", ")
            ))
        })?;
        steps.push(JobStep { template: template.clone(), values: BTreeMap::new() });
        known.push(found);
    }
    let mut put = |name: &str, value: &str, meant: &dyn Fn(usize) -> bool| {
        let mut taken = false;
        for (n, step) in steps.iter_mut().enumerate() {
            if meant(n) && known[n].values.contains_key(name) {
                step.values.insert(name.to_owned(), json!(value));
                taken = true;
            }
        }
        taken
    };
    if let Some(package) = package
        && !put(PACKAGE, package, &|_| true)
    {
        let templates = templates.join(", ");
        return Err(CliError::usage(format!("{templates} takes no package; leave it out")));
    }
    // What is said of one step goes before what is said of all.
    let (of_all, of_one): (Vec<_>, Vec<_>) = sets.iter().partition(|(name, _)| !name.contains('.'));
    for (whole, value) in of_all.into_iter().chain(of_one) {
        let (step, name) = match whole.rsplit_once('.') {
            Some((step, name)) => (Some(step), name),
            None => (None, whole.as_str()),
        };
        let meant = |n: usize| match step {
            None => true,
            Some(step) => step == templates[n] || step == (n + 1).to_string(),
        };
        if !put(name, value, &meant) {
            let takers = known.iter().enumerate().filter(|(n, _)| meant(*n));
            let takers: Vec<_> = takers.map(|(_, template)| takes(template)).collect();
            return Err(CliError::usage(if takers.is_empty() {
                format!("--set {whole}: there is no step {:?}", step.unwrap_or_default())
            } else {
                format!("--set {whole}: {}", takers.join("; "))
            }));
        }
    }
    Ok(steps)
}

fn takes(template: &JobTemplateInfo) -> String {
    let names: Vec<_> = template.values.keys().map(|name| printable(name)).collect();
    format!("{:?} takes no such value; accepted are: {}", template.name, names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered() -> Vec<JobTemplateInfo> {
        let template = |name: &str, values: &[&str]| JobTemplateInfo {
            name: name.into(),
            help: String::new(),
            values: values.iter().map(|value| ((*value).to_owned(), "a text".into())).collect(),
        };
        vec![
            template("centroid", &["package", "epochs"]),
            template("centered", &["package", "epochs", "crop"]),
            template("report", &[]),
        ]
    }

    fn asked(templates: &[&str], sets: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let templates: Vec<_> = templates.iter().map(|&name| name.to_owned()).collect();
        let sets: Vec<_> =
            sets.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let steps = steps(&templates, &sets, Some("packages/flies"), &offered());
        let shown = |step: &JobStep| {
            let values = step.values.iter().map(|(name, value)| format!("{name}={value}"));
            values.collect::<Vec<_>>().join(" ").replace('"', "")
        };
        steps.map(|steps| steps.iter().map(shown).collect()).map_err(|error| error.message)
    }

    #[test]
    fn each_step_gets_the_values_that_it_takes() {
        let both = ["centroid", "centered", "report"];
        let sets = [("2.epochs", "5"), ("epochs", "9"), ("crop", "1"), ("centroid.epochs", "7")];
        assert_eq!(
            asked(&both, &sets).expect("fine"),
            ["epochs=7 package=packages/flies", "crop=1 epochs=5 package=packages/flies", "",]
        );
    }

    #[test]
    fn a_value_that_nobody_takes_is_refused_before_anything_is_sent() {
        for (templates, sets, words) in [
            (["train"].as_slice(), [].as_slice(), "there are: centroid, centered, report"),
            (&["centroid"], &[("crop", "1")], "accepted are: epochs, package"),
            (&["centroid"], &[("2.epochs", "1")], "there is no step \"2\""),
            (&["centroid", "centered"], &[("1.crop", "1")], "\"centroid\" takes no such value"),
            (&["report"], &[], "report takes no package"),
        ] {
            let error = asked(templates, sets).expect_err(words);
            assert!(error.contains(words), "{error}");
        }
    }
}
