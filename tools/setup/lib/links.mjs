import { existsSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { root } from './workspaces.mjs';

/**
 * The home of the sources: { url, web }, from package.json of the root, or on GitHub's machines from where the workflow runs,
 * for npm refuses a statement of provenance that names another one.
 */
export function home(rootManifest = rootPackage(), env = process.env) {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: name } = env;
  const url = server && name ? `git+${server}/${name}.git` : rootManifest.repository.url;
  return { url, web: url.replace(/^git\+/, '').replace(/\.git$/, '') };
}

function rootPackage() {
  return JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
}

/**
 * A page of Markdown with its relative links and pictures as `place({ path, anchor, picture })` says. `file` is the page's path in the
 * repository, `path` that of what it links to, `anchor` is '' or begins with #. Code stays as it is.
 * @throws Error naming a link to what is not there
 */
export function movedLinks(text, file, place) {
  const moved = (target) => {
    if (/^(#|[a-z]+:)/i.test(target)) return target;
    const [to, anchor] = target.split('#');
    const path = posix.normalize(posix.join(posix.dirname(file), to)).replace(/\/$/, '');
    if (!existsSync(join(root, path))) throw new Error(`${file}: link to ${target}, which is not there`);
    return place({ path, anchor: anchor === undefined ? '' : `#${anchor}`, picture: /\.(svg|png)$/.test(to) });
  };
  // A link's label may hold code or a picture, so labels are not looked into: only what stands between `](` and `)`.
  const inText = (part) =>
    part
      .replace(/\]\(([^()\s]+)\)/g, (_, target) => `](${moved(target)})`)
      .replace(/(<img [^>]*src=")([^"]+)"/g, (_, before, target) => `${before}${moved(target)}"`);
  const parts = text.split(/(```[\s\S]*?```|`[^`\n]*`)/);
  return parts.map((part, i) => (i % 2 === 1 ? part : inText(part))).join('');
}
