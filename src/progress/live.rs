//! Draws the live view: a few times a second, whatever the pace of events, and gone at the end.

use super::frame::{View, lines};
use super::model::Model;
use crate::clock::now;
use console::{Term, measure_text_width};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lockstep_plan::Plan;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// How many lines a screen of that width adds by breaking these.
fn broken(lines: &[String], width: usize) -> usize {
    lines.iter().map(|line| measure_text_width(line).saturating_sub(1) / width.max(1)).sum()
}

/// The live view of one run.
pub struct Live {
    pub model: Arc<Mutex<Model>>,
    bar: ProgressBar,
    /// Dropping it ends the drawing.
    painter: Mutex<Option<(mpsc::Sender<()>, JoinHandle<()>)>>,
}

impl Live {
    /// Begins to draw.
    pub fn new(plan: &Arc<Plan>, run: &str) -> Live {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
        let model = Arc::new(Mutex::new(Model::new(plan)));
        let (stop, stopped) = mpsc::channel();
        let paint = {
            let (plan, model, bar, run) = (plan.clone(), model.clone(), bar.clone(), run.to_owned());
            move || {
                let terminal = Term::stderr();
                let (mut last, mut before) = (Vec::new(), usize::MAX);
                while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(FRAME) {
                    let (height, width) = terminal.size();
                    let view = View { width: width.into(), height: height.into(), now: now() };
                    let lines = {
                        let model = model.lock().unwrap_or_else(PoisonError::into_inner);
                        if model.began == 0 { continue } else { lines(&plan, &model, &run, view) }
                    };
                    if view.width < before {
                        // Lines that no longer fit were broken: there are more to be taken away than were drawn.
                        let more = broken(&last, view.width);
                        let _ = terminal.clear_line().and_then(|()| terminal.clear_last_lines(more));
                    }
                    before = view.width;
                    bar.set_message(lines.join("\n"));
                    bar.tick();
                    last = lines;
                }
            }
        };
        // Without a thread to draw, lines are still written above.
        let painter = std::thread::Builder::new().name("painter".into()).spawn(paint).ok();
        Live { model, bar, painter: Mutex::new(painter.map(|thread| (stop, thread))) }
    }

    /// Writes a line that stays, above the view.
    pub fn say(&self, text: &str) {
        self.bar.println(text);
    }

    /// Takes the view away: the closing table tells the end.
    pub fn close(&self) {
        let painter = self.painter.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = painter {
            drop(stop);
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}
