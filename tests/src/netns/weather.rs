//! Makes a link follow its timetable, in real time, until it is dropped.

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    conditions::Conditions,
    link::{Cut, Link},
    profile::Profile,
    timetable::{Event, Timetable},
};

/// The course of a link.
#[derive(Debug)]
pub struct Weather {
    /// Closing it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The thread's own.
struct Course {
    link: Arc<Link>,
    profile: Profile,
    begun: Instant,
    stopped: Receiver<()>,
}

/// The weather has ended before its time.
struct Over;

impl Weather {
    /// Begins now.
    ///
    /// # Panics
    /// When the system has no thread left.
    pub fn start(link: Arc<Link>, profile: Profile, timetable: Timetable) -> Self {
        let (stop, stopped) = mpsc::channel();
        // A gap at the beginning has begun before anybody sends.
        let is_gone = matches!(timetable.events().first(), Some((Duration::ZERO, Event::Gap(_))));
        let gone = is_gone.then(|| link.cut());
        let course = Course { link, profile, begun: Instant::now(), stopped };
        let thread = thread::Builder::new().name("weather".to_owned()).spawn(move || {
            let _ = course.follow(&timetable, gone);
        });
        Self { stop: Some(stop), thread: Some(thread.expect("a thread")) }
    }
}

impl Drop for Weather {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has panicked already and said so.
            let _ = thread.join();
        }
    }
}

impl Course {
    fn follow(&self, timetable: &Timetable, mut gone: Option<Cut>) -> Result<(), Over> {
        for (at, event) in timetable.events() {
            self.wait_until(*at)?;
            match event {
                Event::Gap(length) => {
                    let _cut = gone.take().unwrap_or_else(|| self.link.cut());
                    self.wait_until(*at + *length)?;
                }
                Event::Address => self.link.change_address(),
                Event::Ports => self.link.emulator.rebind_nat(),
                Event::Radio(radio) => {
                    let next = self.profile.conditions_with(radio);
                    self.link.change(|now| *now = Conditions { is_up: now.is_up, ..next });
                    self.link.change_address();
                }
            }
        }
        Ok(())
    }

    fn wait_until(&self, at: Duration) -> Result<(), Over> {
        match self.stopped.recv_timeout(at.saturating_sub(self.begun.elapsed())) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            _ => Err(Over),
        }
    }
}
