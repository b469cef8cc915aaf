const kernel = 'attention_hopper.cu';
const group = 'attention_hopper.h';
const TILES = 'bf16 head_64';

const MISTAKES = [
  {
    name: 'keys are read before they have arrived',
    file: kernel,
    from: 'Slots::await(item);',
    nth: 0,
    to: '',
    run: TILES,
  },
  {
    name: 'q is read before it has arrived',
    file: kernel,
    from: 'awaitPhase(Slots::query(), 0);',
    to: '',
    run: TILES,
  },
  {
    name: 'values are read before they have arrived',
    file: kernel,
    from: 'Slots::await(item + 1);',
    nth: 1,
    to: '',
    run: TILES,
  },
  {
    name: 'scores are read while products run',
    file: kernel,
    from: 'awaitProducts<0>(s);',
    to: 'awaitProducts<1>(s);',
    run: TILES,
    always: true,
  },
  {
    name: 'values are given back while products read them',
    file: kernel,
    from: 'values = item + 1;',
    to: 'Slots::release(item + 1, rows.lane);',
    run: TILES,
    always: true,
  },
  {
    name: 'slots are filled again without asking',
    file: kernel,
    from: 'if (item >= Shape::slots) awaitPhase(',
    to: 'if (item >= 2 * Shape::slots) awaitPhase(',
    run: 'bf16 head_64_(chunk|partly)',
    always: true,
  },
  {
    name: 'one panel of two is expected',
    file: kernel,
    from: 'arriveExpecting(Slots::full(item), Shape::slotBytes);',
    to: 'arriveExpecting(Slots::full(item), Shape::panelBytes);',
    run: 'attention bf16 head_128',
  },
  {
    name: 'no fence before products with v',
    file: group,
    from: 'fenceProducts();',
    nth: 1,
    to: '',
    run: TILES,
  },
  {
    name: 'panels of v taken for one',
    file: group,
    from: '1024, Shape::panelBytes',
    to: '1024, 16',
    run: 'attention bf16 head_128',
  },
  {
    name: 'half of q . k twice',
    file: group,
    from: 'd % 4 * 16',
    to: 'd % 2 * 16',
    run: TILES,
    always: true,
  },
  { name: 'the diagonal is masked', file: group, from: 'if (away < 0 ||', to: 'if (away <= 0 ||', run: TILES },
  {
    name: 'documents ignored by the plain test',
    file: group,
    from: 't * keyTile >= lastStart',
    to: 't * keyTile >= firstStart',
    run: 'bf16 head_64_(no_bias|far)_documents',
  },
  {
    name: 'last key tile missed',
    file: kernel,
    from: 'p.position(lastRow) / Shape::keyTile;',
    to: '(p.position(lastRow) - 1) / Shape::keyTile;',
    run: 'bf16 head_(64|128)_last_key',
  },
  {
    name: 'no barrier before the bias is read',
    file: kernel,
    from: 'namedBarrier<1, 128 * Shape::groups>();',
    to: '',
    run: TILES,
  },
  {
    name: 'no barrier before the maxima are read',
    file: kernel,
    from: 'namedBarrier<2, 128>();',
    to: '',
    run: TILES,
  },
  {
    name: 'activity of other rows',
    file: group,
    from: 'firstRow / activeRows + warp',
    to: 'firstRow / activeRows + (warp ^ 1)',
    run: 'bf16 head_64_partly',
  },
  {
    name: 'rows of the other group',
    file: kernel,
    from: 'part / Shape::panels * Shape::groupRows',
    to: '(1 - part / Shape::panels) * Shape::groupRows',
    run: TILES,
  },
];

/** Mistakes in the kernels for Hopper, as in list.mjs. */
export const HOPPER = MISTAKES.map((mistake) => ({
  ...mistake,
  name: `hopper: ${mistake.name}`,
  path: /** @type {const} */ ('hopper'),
  compile: [kernel],
}));
