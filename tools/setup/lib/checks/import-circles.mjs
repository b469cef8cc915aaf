import { posix } from 'node:path';

/** `from './x.ts'`, `import './x.ts'` and `import('./x.ts')`, of types too: a reader has to follow those as well. */
const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g;

/**
 * One sentence for each circle of relative imports among files { path, text }. A circle is given once, as the strongly
 * connected files it goes through.
 */
export function importCircles(files) {
  const known = new Set(files.map(({ path }) => path));
  const imports = new Map(files.map(({ path, text }) => [path, importsOf(path, text).filter((to) => known.has(to))]));
  return connected(imports)
    .filter((group) => group.length > 1)
    .map((group) => `import circle of ${group.length} files: ${group.toSorted().join(', ')}`);
}

function importsOf(path, text) {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');
  return [...code.matchAll(IMPORT)].map(([, to]) => posix.join(posix.dirname(path), to));
}

/** Tarjan's strongly connected components, with a stack of its own instead of recursion. */
function connected(edges) {
  const order = new Map();
  const low = new Map();
  const path = [];
  const onPath = new Set();
  const groups = [];
  for (const start of edges.keys()) {
    if (order.has(start)) continue;
    const work = [[start, 0]];
    while (work.length > 0) {
      const [node, next] = work.at(-1);
      if (next === 0 && !order.has(node)) {
        order.set(node, order.size);
        low.set(node, order.get(node));
        path.push(node);
        onPath.add(node);
      }
      const to = edges.get(node)[next];
      if (to !== undefined) {
        work.at(-1)[1]++;
        if (!order.has(to)) work.push([to, 0]);
        else if (onPath.has(to)) low.set(node, Math.min(low.get(node), order.get(to)));
        continue;
      }
      work.pop();
      const parent = work.at(-1)?.[0];
      if (parent !== undefined) low.set(parent, Math.min(low.get(parent), low.get(node)));
      if (low.get(node) !== order.get(node)) continue;
      const group = path.splice(path.indexOf(node));
      for (const member of group) onPath.delete(member);
      groups.push(group);
    }
  }
  return groups;
}
