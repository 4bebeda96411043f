//! Grows a pipeline behind what its source turns out to give.

use std::sync::{Arc, Mutex, PoisonError};

use gstreamer::{self as gst, prelude::*};
use gstreamer_app::{AppSink, AppSinkCallbacks};

use super::{
    description::{self, Form},
    encoders::{Encoder, OWN},
    own::Own,
    probe,
    run::Shared,
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
    let words = description::rest(form, encoder);
    let bin = gst::parse::bin_from_description(&words, false)
        .map_err(|error| error.message().to_owned())?;
    // Which pads are loose cannot be seen: a decoder's output is linked only once it decodes.
    let first = bin.by_name("first").or_else(|| bin.by_name("pace"));
    let entry = door(&bin, first.and_then(|first| first.static_pad("sink")))?;
    door(&bin, bin.by_name("last").and_then(|last| last.static_pad("src")))?;
    if let Some(element) = bin.by_name("encoder") {
        probe::configure(&element, encoder, shared.bitrate());
    }
    let is_own = form.is_encoded_here() && encoder.name == OWN;
    let own = is_own.then(Own::new);
    let outlet = Outlet::new(shared.clone(), sink.clone(), own, form);
    let outlet = Mutex::new(outlet);
    let callbacks = AppSinkCallbacks::builder()
        .new_sample(move |from| outlet.lock().unwrap_or_else(PoisonError::into_inner).take(from))
        .build();
    // The callback takes each picture at once, so none waits here.
    let end =
        AppSink::builder().sync(false).async_(false).max_buffers(2).callbacks(callbacks).build();
    let failed = |error: gst::glib::BoolError| error.message.into_owned();
    pipeline.add_many([bin.upcast_ref::<gst::Element>(), end.upcast_ref()]).map_err(failed)?;
    bin.link(&end).map_err(failed)?;
    shared.grown(form.is_encoded_here(), &bin, &end, encoder);
    sink.event(SourceEvent::Keyframes { on_request: form.is_encoded_here() });
    // From the end on, so that nothing flows into what is not ready.
    end.sync_state_with_parent().map_err(failed)?;
    bin.sync_state_with_parent().map_err(failed)?;
    pad.link(&entry).map_err(|error| format!("the format does not fit: {error}"))?;
    Ok(())
}

/// Makes a pad of an element inside a bin a pad of the bin.
fn door(bin: &gst::Bin, inside: Option<gst::Pad>) -> Result<gst::GhostPad, String> {
    let inside = inside.ok_or("nothing can flow through the rest of the pipeline")?;
    let door = gst::GhostPad::with_target(&inside).map_err(|error| error.message.into_owned())?;
    bin.add_pad(&door).map_err(|error| error.message.into_owned())?;
    Ok(door)
}
