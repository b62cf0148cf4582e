//! For tests: an instance that is handed events as one in a process of its own, but lives in this one.

use notifyit_plugin_api::abi::{EventRaw, HandlerBox};

use super::wire::{self, WireEvent};
use crate::plugin::{Answer, Answers, Lost, Reply};

/// What happens to the process when it comes to the next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It calls the plugin.
    LivesOn,
    /// Its time is over: it answers what it has, and leaves the rest.
    GivesBack,
    /// It dies in the call.
    Dies,
    /// It dies between two calls.
    DiesIdle,
}

/// See the module.
pub(in crate::plugin) struct Pretended {
    handler: Option<HandlerBox>,
    events: Vec<u8>,
    handed: usize,
    fate: fn() -> Fate,
}

impl Pretended {
    pub(in crate::plugin) fn new(handler: HandlerBox, fate: fn() -> Fate) -> Pretended {
        Pretended { handler: Some(handler), events: Vec::new(), handed: 0, fate }
    }

    pub(in crate::plugin) fn hand(&mut self, event: &EventRaw<'_>) {
        wire::put(&mut self.events, &WireEvent::of(event)).unwrap();
        self.handed += 1;
    }

    pub(in crate::plugin) fn answers(&mut self) -> Answers {
        let (bytes, handed) = (std::mem::take(&mut self.events), std::mem::take(&mut self.handed));
        let (mut events, mut answers) = (bytes.as_slice(), Answers::default());
        answers.each.resize(handed, None);
        let died = || Lost::Died("died as it was told".to_owned());
        for place in 0..handed {
            let event: WireEvent<'_> = wire::get(&mut events).unwrap();
            match (self.fate)() {
                Fate::GivesBack if place > 0 => return answers,
                Fate::LivesOn | Fate::GivesBack => {
                    let Some(handler) = &mut self.handler else { panic!("it is called after its death") };
                    answers.each[place] = Some(Answer::from_wire(handler.on_event(&event.to_raw())));
                    if matches!(&answers.each[place], Some(Answer { reply: Reply::Lost(_), .. })) {
                        return answers;
                    }
                }
                Fate::Dies => {
                    answers.each[..place].fill(None);
                    let answer = Answer::from(Reply::Lost(died()));
                    answers.each[place] = Some(answer);
                    self.handler = None;
                    return answers;
                }
                Fate::DiesIdle => {
                    answers.each.fill(None);
                    answers.lost = Some(died());
                    self.handler = None;
                    return answers;
                }
            }
        }
        answers
    }

    pub(in crate::plugin) fn handler(&mut self) -> &mut HandlerBox {
        self.handler.as_mut().unwrap()
    }
}
