//! SVG and MathML in a page, as far as they change how tags are read (HTML, 13.2.6.5): a script in
//! them has no text of its own kind, and there is CDATA.
//!
//! Without the tree that browsers build, this is what the names of tags say of it. They do not say
//! all where HTML stands in `desc`, `mi` and the like and is nested wrongly, or has CDATA: there a
//! script can miss its nonce, and a text can have one.

use super::tag::{Name, attribute};

/// Elements that are open and change how tags are read, the outermost first.
#[derive(Default)]
pub(super) struct Foreign(Vec<Frame>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    Svg,
    MathMl,
    /// HTML in one of these two, in the element of this name.
    Html(Point),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Point {
    Desc,
    Title,
    ForeignObject,
    Mi,
    Mo,
    Mn,
    Ms,
    Mtext,
    AnnotationXml,
}

const SVG: Name = Name::of("svg");
const MATH: Name = Name::of("math");
const FONT: Name = Name::of("font");
const ANNOTATION: Name = Name::of("annotation-xml");

/// Elements that end SVG and MathML.
const BREAK_OUT: [Name; 44] = [
    Name::of("b"),
    Name::of("big"),
    Name::of("blockquote"),
    Name::of("body"),
    Name::of("br"),
    Name::of("center"),
    Name::of("code"),
    Name::of("dd"),
    Name::of("div"),
    Name::of("dl"),
    Name::of("dt"),
    Name::of("em"),
    Name::of("embed"),
    Name::of("h1"),
    Name::of("h2"),
    Name::of("h3"),
    Name::of("h4"),
    Name::of("h5"),
    Name::of("h6"),
    Name::of("head"),
    Name::of("hr"),
    Name::of("i"),
    Name::of("img"),
    Name::of("li"),
    Name::of("listing"),
    Name::of("menu"),
    Name::of("meta"),
    Name::of("nobr"),
    Name::of("ol"),
    Name::of("p"),
    Name::of("pre"),
    Name::of("ruby"),
    Name::of("s"),
    Name::of("small"),
    Name::of("span"),
    Name::of("strong"),
    Name::of("strike"),
    Name::of("sub"),
    Name::of("sup"),
    Name::of("table"),
    Name::of("tt"),
    Name::of("u"),
    Name::of("ul"),
    Name::of("var"),
];

/// Browsers hold no more elements in each other.
const DEEPEST: usize = 512;

impl Foreign {
    /// Whether it is SVG or MathML that is open.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.0.last(), Some(Frame::Svg | Frame::MathMl))
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a tag has to be seen with its attributes.
    pub(super) fn reads_attributes(&self, name: Name) -> bool {
        self.is_open() && (name == FONT || name == ANNOTATION)
    }

    fn push(&mut self, frame: Frame) {
        if self.0.len() < DEEPEST {
            self.0.push(frame);
        }
    }

    /// A start tag, which may close its element itself, and its attributes if they matter.
    pub(super) fn start(&mut self, name: Name, closed: bool, attributes: &[u8]) {
        let Some(frame) = self.0.last().copied().filter(|_| self.is_open()) else {
            match name {
                SVG if !closed => self.push(Frame::Svg),
                MATH if !closed => self.push(Frame::MathMl),
                _ => {}
            }
            return;
        };
        let has = |attribute_name| attribute(attributes, attribute_name).is_some();
        if BREAK_OUT.contains(&name)
            || name == FONT && ["color", "face", "size"].into_iter().any(has)
        {
            return self.leave();
        }
        let next = match (frame, name) {
            (Frame::Svg, SVG) => Some(Frame::Svg),
            (Frame::MathMl, MATH) => Some(Frame::MathMl),
            (Frame::MathMl, ANNOTATION) if !holds_html(attributes) => None,
            (frame, name) => Point::of(frame, name).map(Frame::Html),
        };
        if let Some(next) = next.filter(|_| !closed) {
            self.push(next);
        }
    }

    /// An end tag.
    pub(super) fn end(&mut self, name: Name) {
        match self.0.last() {
            None => {}
            Some(Frame::Svg) if name == SVG => drop(self.0.pop()),
            Some(Frame::MathMl) if name == MATH => drop(self.0.pop()),
            Some(Frame::Svg | Frame::MathMl) if name == Name::of("p") || name == Name::of("br") => {
                self.leave();
            }
            Some(Frame::Html(point)) if point.name() == name => drop(self.0.pop()),
            Some(_) => {}
        }
    }

    /// Back to HTML, which may itself be in an SVG or MathML.
    fn leave(&mut self) {
        while self.is_open() {
            self.0.pop();
        }
    }
}

/// Whether an `annotation-xml` says that it holds HTML.
fn holds_html(attributes: &[u8]) -> bool {
    let encoding = attribute(attributes, "encoding").map(|(_, value)| value);
    encoding.is_some_and(|encoding| {
        encoding.eq_ignore_ascii_case(b"text/html")
            || encoding.eq_ignore_ascii_case(b"application/xhtml+xml")
    })
}

impl Point {
    const ALL: [Self; 9] = [
        Self::Desc,
        Self::Title,
        Self::ForeignObject,
        Self::Mi,
        Self::Mo,
        Self::Mn,
        Self::Ms,
        Self::Mtext,
        Self::AnnotationXml,
    ];

    fn of(frame: Frame, name: Name) -> Option<Self> {
        let (of_svg, of_math) = Self::ALL.split_at(3);
        let points = if frame == Frame::Svg { of_svg } else { of_math };
        points.iter().copied().find(|point| point.name() == name)
    }

    fn name(self) -> Name {
        match self {
            Self::Desc => Name::of("desc"),
            Self::Title => Name::of("title"),
            Self::ForeignObject => Name::of("foreignobject"),
            Self::Mi => Name::of("mi"),
            Self::Mo => Name::of("mo"),
            Self::Mn => Name::of("mn"),
            Self::Ms => Name::of("ms"),
            Self::Mtext => Name::of("mtext"),
            Self::AnnotationXml => ANNOTATION,
        }
    }
}
