/** Lines of a file beyond which it is two, and of a function. */
const MOST_LINES = 500;
const MOST_FUNCTION_LINES = 80;

/** One sentence for each file { path, text } that is too long. */
export function longFiles(files) {
  return files
    .map(({ path, text }) => ({ path, lines: text.trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > MOST_LINES)
    .map(({ path, lines }) => `${path} has ${lines} lines; at most ${MOST_LINES}: divide it`);
}

/** Where a function with a body begins. Every file is formatted, so its end is the first closing brace as far in. */
const TYPESCRIPT =
  /^(\s*)(?:export )?(?:default )?(?:async )?(?:function\*? (?<name>\w+)|(?:const|let) (?<value>\w+)[^;]*=>(?= \{$)|(?:(?:public|private|protected|static|override|async|get|set) )*\*?(?<method>#?\w+)\((?!.*=>).*\{$|(?<key>\w+): (?:async )?\(.*=> \{$)/;
/** At the margin (namespaces are not indented), or as a member. */
const CPP =
  /^( {0,2})(?!namespace|struct|class|enum|union|extern "|using|typedef|#|\/|\}|\s)(?:.*\b)?(?<name>~?\w+)\(.*$/;
const NO_FUNCTION = new Set(['if', 'for', 'while', 'switch', 'catch', 'return', 'with', 'else', 'constexpr']);

/** Functions of more lines than a screen has, as { id: 'path name', lines }. */
export function longFunctions(files) {
  return files.flatMap(({ path, text }) => {
    const pattern = /\.(cpp|h|cu|cuh)$/.test(path) ? CPP : TYPESCRIPT;
    const lines = text.split('\n');
    return lines.flatMap((line, start) => {
      const match = pattern.exec(line);
      if (match === null) return [];
      const { name, value, method, key } = match.groups;
      // A kernel's bounds stand before its name, often alone on their line.
      const bounded = name === '__launch_bounds__' ? /(\w+)\(/.exec(lines[start + 1])?.[1] : name;
      const called = bounded ?? value ?? method ?? key;
      if (NO_FUNCTION.has(called)) return [];
      const length = bodyLength(lines, start, match[1]);
      return length > MOST_FUNCTION_LINES ? [{ id: `${path} ${called}`, lines: length }] : [];
    });
  });
}

/** Lines from `start` to the closing brace at `indent`; 0 where there is no body. */
function bodyLength(lines, start, indent) {
  let opened = false;
  for (let at = start; at < lines.length; at++) {
    const line = lines[at];
    if (line.trimEnd().endsWith('{')) opened = true;
    if (at === start) continue;
    if (line.startsWith(`${indent}}`) && opened && !line.trimEnd().endsWith('{')) return at - start + 1;
    // A declaration, or the end of what is around it.
    if (!opened && (line.trimEnd().endsWith(';') || line.trim() === '')) return 0;
    if (line.trim() !== '' && !line.startsWith(indent)) return 0;
  }
  return 0;
}

/**
 * Sentences: for each long function without a reason in `reasons` ({ 'path name': reason }), and for each reason whose
 * function is no longer long, so that the list cannot grow old.
 */
export function unexplained(functions, reasons) {
  const long = new Set(functions.map(({ id }) => id));
  return [
    ...functions
      .filter(({ id }) => reasons[id] === undefined)
      .map(({ id, lines }) => `${id} has ${lines} lines; at most ${MOST_FUNCTION_LINES}: divide it, or give a reason`),
    ...Object.keys(reasons)
      .filter((id) => !long.has(id))
      .map((id) => `${id} is no longer a long function; remove its reason`),
  ];
}
