/** A fenced block of a document, and what comments before it say of it. */
export interface DocBlock {
  /** Of its first line, from 1. */
  readonly line: number;
  readonly language: string;
  readonly text: string;
  /** `<!-- file: NAME -->`: the reader keeps it as that file. */
  readonly file: string | undefined;
  /** `<!-- before: … -->`: what the reader has done that the document does not tell. A shell script. */
  readonly before: string | undefined;
  /** `<!-- then: … -->`: what the reader does with it. A shell script. */
  readonly then: string | undefined;
  /** `<!-- any figures: WHY -->`: what is printed has others, and columns of other widths. */
  readonly anyFigures: boolean;
  /** `<!-- not run: REASON -->` */
  readonly notRun: string | undefined;
}

/** The fenced blocks of a Markdown text. Blocks without a language are no code. */
export function docBlocks(markdown: string): readonly DocBlock[] {
  const lines = markdown.split("\n");
  const blocks: DocBlock[] = [];
  let comments = new Map<string, string>();
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? "";
    if (line.startsWith("<!-- ")) {
      let comment = line;
      while (!comment.endsWith("-->")) comment += `\n${lines[++at] ?? "-->"}`;
      const [, key = "", value = ""] = /^<!-- ([a-z ]+?):\s([\s\S]*?)\s*-->$/.exec(comment) ?? [];
      comments.set(key, value);
      continue;
    }
    const [, indent = "", language = ""] = /^( *)```([a-z]+)$/.exec(line) ?? [];
    if (language === "") {
      if (line.trim() !== "") comments = new Map();
      continue;
    }
    const first = at + 1;
    while (lines[at + 1]?.trimStart() !== "```") at++;
    const text = lines
      .slice(first, ++at)
      .map((each) => each.slice(indent.length))
      .join("\n");
    const [file, before, then, notRun] = ["file", "before", "then", "not run"].map((key) => comments.get(key));
    blocks.push({
      line: first + 1,
      language,
      text: `${text}\n`,
      file,
      before,
      then,
      notRun,
      anyFigures: comments.has("any figures"),
    });
    comments = new Map();
  }
  return blocks;
}

/** Whether output is what a document shows of it: a line `…` stands for any lines, `…` in a line for any characters. */
export function isShown(shown: string, output: string, anyFigures: boolean): boolean {
  const exact = (text: string) => text.split("…").map(escaped).join(".*?");
  const loose = (text: string) =>
    exact(text)
      .replace(/\d+(?:\\\.\d+)?/g, "[\\d.]+")
      .replace(/ +/g, " +");
  const pattern = shown
    .trimEnd()
    .split("\n")
    .map((line) => (line.trim() === "…" ? "(?:.*\n)*?" : `${(anyFigures ? loose : exact)(line.trimEnd())} *\n`))
    .join("");
  return new RegExp(`^${pattern}$`).test(`${output.trimEnd()}\n`);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** The commands of a transcript (`$ command`, then what it prints). */
export function transcript(text: string): readonly { readonly command: string; readonly output: string }[] {
  return text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const end = part.indexOf("\n");
      return { command: part.slice(0, end), output: part.slice(end + 1) };
    });
}
