#!/usr/bin/env node
// Writes docs/api.md: every name that the library exports, with its declaration and what its source says of it, and every type
// that those mention. It is made of the compiled declarations, so a change of the public interface is a change of that file.
//
//   node scripts/make-api-docs.mjs           writes it
//   node scripts/make-api-docs.mjs --print   prints it
import { writeFileSync } from "node:fs";
import { join, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const project = fileURLToPath(new URL("..", import.meta.url));
const dist = join(project, "dist") + sep;
const entry = join(dist, "index.d.ts");

const program = ts.createProgram([entry], {
  module: ts.ModuleKind.NodeNext,
  target: ts.ScriptTarget.ES2023,
  types: ["node"],
  skipLibCheck: true,
});
const checker = program.getTypeChecker();
const source = program.getSourceFile(entry);
if (source === undefined) throw new Error(`${entry} is missing: npm run build`);

const resolved = (symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol);
const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(source)).map((symbol) => ({
  name: symbol.name,
  symbol: resolved(symbol),
}));
exported.sort(byName);

/** A declaration of ours; a variable's is all of its statement. */
function declarationsOf(symbol) {
  const own = (symbol.declarations ?? []).filter((each) => each.getSourceFile().fileName.startsWith(dist));
  return own
    .map((each) => (ts.isVariableDeclaration(each) ? each.parent.parent : each))
    .filter((each) => !ts.isTypeParameterDeclaration(each));
}

/** Types of ours that declarations mention and nobody can import. */
function findOthers() {
  const known = new Set(exported.map(({ symbol }) => symbol));
  const others = new Map();
  const queue = [...known];
  for (const symbol of queue) {
    for (const declaration of declarationsOf(symbol)) visit(declaration);
  }
  function visit(node) {
    const name = ts.isTypeReferenceNode(node)
      ? node.typeName
      : ts.isExpressionWithTypeArguments(node)
        ? node.expression
        : ts.isTypeQueryNode(node)
          ? node.exprName
          : ts.isImportTypeNode(node)
            ? (node.qualifier ?? undefined)
            : undefined;
    const found = name && checker.getSymbolAtLocation(name);
    const target = found && resolved(found);
    if (target !== undefined && !known.has(target) && isNamed(target)) {
      known.add(target);
      others.set(target, target.name);
      queue.push(target);
    }
    if (isHidden(node)) return;
    ts.forEachChild(node, visit);
  }
  return [...others].map(([symbol, name]) => ({ name, symbol })).sort(byName);
}

const isNamed = (symbol) => declarationsOf(symbol).some((each) => !ts.isSourceFile(each));
const isHidden = (node) =>
  (ts.isPrivateIdentifier(node.name ?? node) ||
    (ts.canHaveModifiers(node) && ts.getModifiers(node)?.some(({ kind }) => kind === ts.SyntaxKind.PrivateKeyword))) ??
  false;

/** The declaration as it is compiled, without the comment above it and without what is private. */
function signatureOf(declaration) {
  const file = declaration.getSourceFile();
  let text = file.text.slice(declaration.getStart(file, false), declaration.end);
  if (ts.isClassDeclaration(declaration)) {
    for (const member of [...declaration.members].reverse()) {
      if (!isHidden(member)) continue;
      const start = declaration.getStart(file, false);
      text = text.slice(0, member.getFullStart() - start) + text.slice(member.end - start);
    }
  }
  return text
    .replace(/^export /, "")
    .replace(/^declare /, "")
    .replace(/\r/g, "");
}

const flow = (text) => text.replace(/\s*\n\s*/g, " ").trim();

function linkText(parts) {
  return flow(
    typeof parts === "string" ? parts : ts.displayPartsToString(parts ?? []).replace(/\{@link ([^}]+)\}/g, "`$1`"),
  );
}

function saidOf({ symbol }) {
  const said = linkText(symbol.getDocumentationComment(checker));
  const tags = symbol.getJsDocTags(checker).map(({ name, text }) => {
    const words = linkText(text);
    if (name === "param") return `- ${words.replace(/^(\S+)\s*-?\s*/, "`$1`: ")}`;
    return `- ${name}: ${words}`;
  });
  return [said, tags.join("\n")].filter((part) => part !== "").join("\n\n");
}

function section(each) {
  const signatures = declarationsOf(each.symbol).map(signatureOf);
  const said = saidOf(each);
  return `### ${each.name}\n\n${said === "" ? "" : `${said}\n\n`}~~~ts\n${signatures.join("\n")}\n~~~\n`;
}

const others = findOthers();
const text = `# The library's interface

Made from the source by \`npm run docs:api\`; not to be edited. All of this is imported from \`oci-nix\`. Errors that functions throw are
\`OciNixError\`s. What versions promise of it is told in [versioning.md](versioning.md).

## Exports

${exported.map(section).join("\n")}
## Types that these mention

They have no names outside; \`ReturnType\`, \`Parameters\` and indexed types reach them.

${others.map(section).join("\n")}`;

if (process.argv[2] === "--print") process.stdout.write(text);
else writeFileSync(join(project, "docs", "api.md"), text);
