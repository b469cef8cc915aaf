import { binariesOf, REQUIRED } from './stage.mjs';

/** Platforms that have no binary, as sentences. */
export function missingBinaries(root) {
  return Object.entries(REQUIRED).flatMap(([backend, targets]) => {
    const there = binariesOf(root, backend).map(({ target }) => target);
    return targets
      .filter((target) => !there.includes(target))
      .map((target) => `${backend} has no binary for ${target}`);
  });
}

/** What is wrong with the sources that a release would be made from, as sentences. `commit`: of `commitHere`. */
export function unclearSources(commit) {
  if (commit === null) return ['the sources are not a checkout: what is published could not be traced to a commit'];
  if (commit.endsWith('-dirty'))
    return [`the sources differ from commit ${commit.replace('-dirty', '')}: commit or undo`];
  return [];
}
