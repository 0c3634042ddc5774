//! What a person sees while the demo runs: headings, and a line per tablet that moves.

use std::{
    io::{IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;

use super::{
    mission::Who,
    relay::Wire,
    tablet::{Counters, TabletState},
};

/// Where the demo shows itself.
pub struct Screen {
    look: Look,
    tablets: Vec<Row>,
    wire: Option<Arc<Wire>>,
}

enum Look {
    /// Only the result.
    Quiet,
    /// Lines that stay, for logs.
    Plain(Mutex<Instant>),
    /// Lines that move, for terminals.
    Live(MultiProgress),
}

struct Row {
    who: Who,
    label: &'static str,
    state: watch::Receiver<TabletState>,
    caption: watch::Sender<String>,
    bar: Option<ProgressBar>,
}

impl Screen {
    /// On standard output, as it is.
    pub fn new(quiet: bool) -> Screen {
        let look = match (quiet, std::io::stdout().is_terminal()) {
            (true, _) => Look::Quiet,
            (false, true) => Look::Live(MultiProgress::with_draw_target(ProgressDrawTarget::stdout())),
            (false, false) => Look::Plain(Mutex::new(Instant::now())),
        };
        Screen { look, tablets: Vec::new(), wire: None }
    }

    /// Shows this tablet from here on.
    pub fn add(&mut self, who: Who, label: &'static str, state: watch::Receiver<TabletState>) {
        let bar = match &self.look {
            Look::Live(bars) => Some(bars.add(ProgressBar::new_spinner().with_style(style()))),
            _ => None,
        };
        self.tablets.push(Row { who, label, state, caption: watch::Sender::new(String::new()), bar });
    }

    /// Shows the network from here on.
    pub fn watch_wire(&mut self, wire: Arc<Wire>) {
        self.wire = Some(wire);
    }

    /// A part begins.
    pub fn heading(&self, text: &str) {
        self.line(&format!("\n== {text}"));
    }

    /// Something worth a line of its own.
    pub fn line(&self, text: &str) {
        match &self.look {
            Look::Quiet => {}
            Look::Plain(_) => say(text),
            // A terminal that is gone does not stop the demo.
            Look::Live(bars) => drop(bars.println(text)),
        }
    }

    /// What the tablet's user is doing.
    pub fn caption(&self, who: Who, text: &str) {
        for row in self.tablets.iter().filter(|row| row.who == who) {
            row.caption.send_replace(text.to_owned());
        }
    }

    /// Does the work and keeps the lines moving meanwhile.
    pub async fn follow<T>(&self, work: impl Future<Output = T>) -> T {
        let mut tick = tokio::time::interval(DRAW_EVERY);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = tick.tick() => self.draw(),
            }
        }
    }

    /// One line per tablet that stays: how things stand at the end of a part.
    pub fn snapshot(&self) {
        if matches!(self.look, Look::Plain(_) | Look::Live(_)) {
            self.tablets.iter().for_each(|row| self.line(&self.row(row, "")));
        }
    }

    /// The lines that move are gone.
    pub fn clear(&self) {
        if let Look::Live(bars) = &self.look {
            self.tablets.iter().filter_map(|row| row.bar.as_ref()).for_each(ProgressBar::finish_and_clear);
            // A terminal that is gone does not stop the demo.
            let _ = bars.clear();
        }
    }

    fn draw(&self) {
        match &self.look {
            Look::Quiet => {}
            Look::Plain(last) => {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= PLAIN_EVERY {
                    *last = Instant::now();
                    self.tablets.iter().for_each(|row| say(&self.row(row, &row.caption.borrow())));
                }
            }
            Look::Live(_) => {
                for row in &self.tablets {
                    if let Some(bar) = &row.bar {
                        bar.set_message(self.row(row, &row.caption.borrow()));
                        bar.tick();
                    }
                }
            }
        }
    }

    fn row(&self, row: &Row, caption: &str) -> String {
        let state = row.state.borrow();
        let Counters { local, sent, durable, refused } = state.total();
        let cut = self.wire.as_ref().is_some_and(|wire| wire.is_cut());
        let link = if cut { "no network" } else { state.link.as_str() };
        let mut text = format!("  {} {link:<10} local {local:>3} sent {sent:>3} durable {durable:>3}", row.label);
        if refused > 0 {
            text += &format!("  REFUSED {refused}");
        }
        if !caption.is_empty() {
            text += &format!("  {caption}");
        }
        text
    }
}

/// A reader that has seen enough does not stop the demo.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Often enough to look alive.
const DRAW_EVERY: Duration = Duration::from_millis(80);
/// Seldom enough for a log.
const PLAIN_EVERY: Duration = Duration::from_millis(900);
