//! Grows a pipeline behind what its source turns out to give.

use std::sync::{Arc, Mutex, PoisonError};

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::{AppSink, AppSinkCallbacks};

use super::{
    branch::Full,
    description::{self, Form},
    encoders::{Encoder, OWN},
    own::Own,
    probe,
    run::Shared,
    thin::Thin,
    unit::Outlet,
};
use crate::media::source::{Sink, SourceEvent};

/// Waits for the format of the element called `out` and then puts the rest behind it, on the
/// pipeline's own thread, before the first picture goes on.
pub(super) fn grow_when_known(
    pipeline: &gst::Pipeline,
    shared: &Arc<Shared>,
    sink: &Arc<dyn Sink>,
    encoder: &'static Encoder,
) -> Result<(), String> {
    let out = pipeline.by_name("out").ok_or("the pipeline has no end")?;
    let pad = out.static_pad("src").ok_or("the pipeline's end gives nothing")?;
    let (pipeline, shared, sink) = (pipeline.downgrade(), shared.clone(), sink.clone());
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, probe| {
        let Some(gst::PadProbeData::Event(event)) = &probe.data else {
            return gst::PadProbeReturn::Ok;
        };
        let gst::EventView::Caps(caps) = event.view() else { return gst::PadProbeReturn::Ok };
        let form = caps.caps().structure(0).map(|structure| Form::of(structure.name()));
        let Some((pipeline, form)) = pipeline.upgrade().zip(form) else {
            return gst::PadProbeReturn::Remove;
        };
        if let Err(reason) = grow(&pipeline, pad, form, &shared, &sink, encoder) {
            let words = gst::error_msg!(gst::CoreError::Pad, ("{reason}"));
            pipeline.post_error_message(words);
        }
        gst::PadProbeReturn::Remove
    });
    Ok(())
}

fn grow(
    pipeline: &gst::Pipeline,
    pad: &gst::Pad,
    form: Form,
    shared: &Arc<Shared>,
    sink: &Arc<dyn Sink>,
    encoder: &'static Encoder,
) -> Result<(), String> {
    // Renditions of what comes encoded are encoded here as everything else.
    let form = match form {
        Form::H264 | Form::Vp8 if shared.renditions().are_asked_for() => Form::Other,
        form => form,
    };
    let renditions = if form.is_encoded_here() { shared.renditions().len() } else { 1 };
    let words = description::rest(form, encoder, renditions);
    let bin = gst::parse::bin_from_description(&words, false)
        .map_err(|error| error.message().to_owned())?;
    // Which pads are loose cannot be seen: a decoder's output is linked only once it decodes.
    let first = bin.by_name("first").or_else(|| bin.by_name("pace"));
    let entry = door(&bin, "sink", first.and_then(|first| first.static_pad("sink")))?;
    let failed = |error: gst::glib::BoolError| error.message.into_owned();
    pipeline.add(&bin).map_err(failed)?;
    let mut ends = Vec::new();
    for rendition in 0..renditions {
        let last = bin.by_name(&format!("last{rendition}"));
        let exit = format!("src{rendition}");
        let exit = door(&bin, &exit, last.and_then(|last| last.static_pad("src")))?;
        if let Some(element) = bin.by_name(&format!("encoder{rendition}")) {
            probe::configure(&element, encoder, shared.rate(rendition).0);
        }
        let is_own = form.is_encoded_here() && encoder.name == OWN;
        let own = is_own.then(Own::new);
        let end = end(Outlet::new(shared.clone(), sink.clone(), own, (form, rendition)));
        pipeline.add(&end).map_err(failed)?;
        let door = end.static_pad("sink").ok_or("nothing can flow out of the pipeline")?;
        exit.link(&door).map_err(|error| format!("the format does not fit: {error}"))?;
        ends.push(end);
    }
    if form.is_encoded_here() {
        look_at_gates(&bin, shared, renditions);
    }
    shared.grown(form.is_encoded_here(), &bin, &ends, encoder);
    sink.event(SourceEvent::Keyframes { on_request: form.is_encoded_here() });
    // From the end on, so that nothing flows into what is not ready.
    for end in &ends {
        end.sync_state_with_parent().map_err(failed)?;
    }
    bin.sync_state_with_parent().map_err(failed)?;
    pad.link(&entry).map_err(|error| format!("the format does not fit: {error}"))?;
    Ok(())
}

/// Takes each picture at once, so none waits here.
fn end(outlet: Outlet) -> AppSink {
    let outlet = Mutex::new(outlet);
    let callbacks = AppSinkCallbacks::builder()
        .new_sample(move |from| outlet.lock().unwrap_or_else(PoisonError::into_inner).take(from))
        .build();
    AppSink::builder().sync(false).async_(false).max_buffers(2).callbacks(callbacks).build()
}

/// Behind the gate it is seen what pictures are like, and behind the gate of each rendition some are left
/// out.
fn look_at_gates(bin: &gst::Bin, shared: &Arc<Shared>, renditions: usize) {
    let behind = |name: &str| bin.by_name(name).and_then(|gate| gate.static_pad("src"));
    let Some(gate) = behind("gate") else { return };
    let told = shared.clone();
    gate.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, probe| {
        if let Some(gst::PadProbeData::Event(event)) = &probe.data
            && let gst::EventView::Caps(caps) = event.view()
            && let Some(full) = Full::of(caps.caps())
        {
            told.set_full(full);
        }
        gst::PadProbeReturn::Ok
    });
    for (number, rendition) in shared.renditions().iter().enumerate().take(renditions) {
        // Of one rendition there is one gate.
        let Some(gate) = behind(&format!("gate{number}")).or_else(|| Some(gate.clone())) else {
            continue;
        };
        let (thin, shared) = (Mutex::new(Thin::default()), shared.clone());
        gate.add_probe(gst::PadProbeType::BUFFER, move |_, probe| {
            let Some(gst::PadProbeData::Buffer(buffer)) = &probe.data else {
                return gst::PadProbeReturn::Ok;
            };
            let at = buffer.pts().map(gst::ClockTime::nseconds);
            let mut thin = thin.lock().unwrap_or_else(PoisonError::into_inner);
            if thin.passes(at, rendition.fps, shared.every(number)) {
                gst::PadProbeReturn::Ok
            } else {
                gst::PadProbeReturn::Drop
            }
        });
    }
}

/// Makes a pad of an element inside a bin a pad of the bin, under a name that no other pad of it has.
fn door(bin: &gst::Bin, name: &str, inside: Option<gst::Pad>) -> Result<gst::GhostPad, String> {
    let inside = inside.ok_or("nothing can flow through the rest of the pipeline")?;
    let failed = |error: gst::glib::BoolError| error.message.into_owned();
    let door = gst::GhostPad::builder_with_target(&inside).map_err(failed)?.name(name).build();
    bin.add_pad(&door).map_err(failed)?;
    Ok(door)
}
