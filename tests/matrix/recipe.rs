//! Recipes: commands written out, with flag axes of their own, for what does not fit the C family's mould.
use crate::axes::{covering, product};
use crate::case::Case;
use crate::expected::{Expectation, expectation};
use crate::program::Cover;
use crate::tools::Tool;

/// Command lines over `{flags}` (the case's flags without `-no-pie`), `{pie}` (`-no-pie` if it is among them), and the
/// places of [`crate::case::Bench`].
pub(crate) struct Recipe {
    /// Directory and program, as in `fortran/demo`.
    pub(crate) name: &'static str,
    pub(crate) compiler: &'static Tool,
    /// What else has to be installed.
    pub(crate) needs: &'static [&'static Tool],
    pub(crate) axes: &'static [&'static [&'static str]],
    pub(crate) steps: &'static [&'static str],
    /// Makes `reference`; `{load}` stands for the files of `load`. Empty where there is nothing to compare with.
    pub(crate) link: &'static str,
    pub(crate) load: &'static str,
    pub(crate) args: &'static str,
    pub(crate) status: i32,
    /// `Same` stands for what the table of expectations says.
    pub(crate) expect: Expectation,
}

impl Recipe {
    /// The usual fields; the others are filled in by `..`.
    pub(crate) const fn of(name: &'static str, compiler: &'static Tool) -> Self {
        Self {
            name,
            compiler,
            needs: &[],
            axes: &[],
            steps: &[],
            link: "",
            load: "",
            args: "",
            status: 42,
            expect: Expectation::Same,
        }
    }

    /// The recipe's cases: all of them, or with `full` unset those in which each pair of flags occurs.
    pub(crate) fn cases(&self, full: bool, seed: usize) -> impl Iterator<Item = Case> {
        let lengths: Vec<usize> = self.axes.iter().map(|axis| axis.len()).collect();
        let rows = if full || lengths.len() < 2 {
            product(&lengths)
        } else {
            covering(&lengths, Cover::Pairs, seed)
        };
        rows.into_iter().map(|row| {
            let flags = row
                .iter()
                .zip(self.axes)
                .map(|(&value, axis)| axis[value])
                .filter(|flags| !flags.is_empty());
            self.case(&flags.collect::<Vec<_>>().join(" "))
        })
    }

    fn case(&self, flags: &str) -> Case {
        let compile: Vec<&str> = flags.split_whitespace().filter(|flag| *flag != "-no-pie").collect();
        let pie = if flags.contains("-no-pie") { "-no-pie" } else { "" };
        let line = |text: &str| text.replace("{flags}", &compile.join(" ")).replace("{pie}", pie);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let command = self.compiler.command;
        let expect = match self.expect {
            Expectation::Same => expectation(self.name, command, flags),
            other => other,
        };
        Case {
            name: format!("{}: {command} {flags} {}", self.name, self.args)
                .trim_end()
                .replace("  ", " "),
            compiler: command,
            needs: [&[self.compiler], self.needs].concat(),
            v3: flags.contains("x86-64-v3"),
            steps: self.steps.iter().map(|step| line(step)).collect(),
            link: line(self.link).replace("{load}", self.load),
            load: line(self.load),
            args: words(self.args),
            status: self.status,
            expect,
            ..Case::default()
        }
    }
}
