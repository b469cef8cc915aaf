/** Row `row` of [rows, width], which starts at `base`, by the workgroup. Rows beyond what a dimension allows wrap into y. */
export const ROW = `
  let row = group.y * groups.x + group.x;
  if (row >= params.rows) { return; }
  let base = row * params.width;`;

/** Head of a loop over the row's entries `j`, dealt out to the workgroup. */
export const EACH_OF_ROW = 'for (var j = lane; j < params.width; j += rowThreads)';
