//! Altering some settings of topics, and leaving all others alone.
//!
//! The law: the request is IncrementalAlterConfigs (KIP-339). The older AlterConfigs, the only one that rdkafka offers,
//! puts every setting that it does not name back to its default. All `unsafe` of the topics is in this file: pointers
//! from librdkafka are owned by [`Owned`] or live as long as the one that they were asked of.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, c_char},
    ptr::{self, NonNull},
};

use rdkafka::{admin::AdminClient, bindings as rd, client::ClientContext};

/// Settings by name, to be set on one topic at once.
pub(super) type Settings = BTreeMap<&'static str, String>;

/// Sets them; returns, for each topic that was asked for and not altered, what the broker said. Blocks until the
/// broker answers or `socket.timeout.ms` has passed.
///
/// # Errors
/// What librdkafka said when it could not ask.
pub(super) fn alter<C: ClientContext>(
    admin: &AdminClient<C>,
    changes: &BTreeMap<String, Settings>,
) -> Result<BTreeMap<String, String>, String> {
    let client = admin.inner().native_ptr();
    let resources = changes.iter().map(|(topic, settings)| resource(topic, settings)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = resources.iter().map(Owned::pointer).collect();
    // SAFETY: the client lives as long as `admin`; the queue is destroyed before this function returns.
    let queue = Owned::new(unsafe { rd::rd_kafka_queue_new(client) }, rd::rd_kafka_queue_destroy)?;
    // SAFETY: the resources outlive the call, which copies them; null stands for the default options.
    unsafe {
        rd::rd_kafka_IncrementalAlterConfigs(
            client,
            pointers.as_mut_ptr(),
            pointers.len(),
            ptr::null(),
            queue.pointer(),
        );
    }
    // SAFETY: the queue is alive. Without a limit, because every request ends with an event, at the latest by its
    // timeout.
    let event = Owned::new(unsafe { rd::rd_kafka_queue_poll(queue.pointer(), -1) }, rd::rd_kafka_event_destroy)?;
    refused(&event)
}

/// A topic with the settings to be set on it.
fn resource(topic: &str, settings: &Settings) -> Result<Owned<rd::rd_kafka_ConfigResource_t>, String> {
    let topic = c_string(topic)?;
    // SAFETY: librdkafka copies the name.
    let made = unsafe {
        rd::rd_kafka_ConfigResource_new(rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, topic.as_ptr())
    };
    let resource = Owned::new(made, rd::rd_kafka_ConfigResource_destroy)?;
    for (name, value) in settings {
        let (name, value) = (c_string(name)?, c_string(value)?);
        let set = rd::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET;
        // SAFETY: the resource is alive; name and value are copied.
        let error = unsafe {
            rd::rd_kafka_ConfigResource_add_incremental_config(resource.pointer(), name.as_ptr(), set, value.as_ptr())
        };
        if let Ok(error) = Owned::new(error, rd::rd_kafka_error_destroy) {
            // SAFETY: the error is alive, and its text with it.
            return Err(unsafe { text(rd::rd_kafka_error_string(error.pointer())) });
        }
    }
    Ok(resource)
}

/// The topics that the broker did not alter, and why.
fn refused(event: &Owned<rd::rd_kafka_event_t>) -> Result<BTreeMap<String, String>, String> {
    // SAFETY: everything read here belongs to the event, which is alive; the texts are copied.
    unsafe {
        if rd::rd_kafka_event_error(event.pointer()) != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(text(rd::rd_kafka_event_error_string(event.pointer())));
        }
        let result = rd::rd_kafka_event_IncrementalAlterConfigs_result(event.pointer());
        if result.is_null() {
            return Err("librdkafka answered another request".to_owned());
        }
        let mut count = 0;
        let first = rd::rd_kafka_IncrementalAlterConfigs_result_resources(result, &raw mut count);
        let resources = if count == 0 { &[][..] } else { std::slice::from_raw_parts(first, count) };
        let failed = resources.iter().filter(|resource| {
            rd::rd_kafka_ConfigResource_error(**resource) != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        });
        Ok(failed
            .map(|resource| {
                let name = text(rd::rd_kafka_ConfigResource_name(*resource));
                (name, text(rd::rd_kafka_ConfigResource_error_string(*resource)))
            })
            .collect())
    }
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("{text:?} holds a zero byte"))
}

/// # Safety
/// `pointer` is null or a text that is alive.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return "no reason given".to_owned();
    }
    // SAFETY: by the law of this function.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// Something of librdkafka's that is ours to destroy.
struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self, String> {
        let pointer = NonNull::new(pointer).ok_or("librdkafka gave nothing back")?;
        Ok(Self { pointer, destroy })
    }

    fn pointer(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: it came from librdkafka and is destroyed once, here.
        unsafe { (self.destroy)(self.pointer.as_ptr()) }
    }
}
