/** The ratios that matter, of what has been measured so far; what is missing is left out. */
export function summarise(steps) {
  const ratio = (a, b) => (typeof a === 'number' && typeof b === 'number' ? a / b : undefined);
  const summary = {};
  for (const which of ['64', '128', 'long']) {
    const [ours, peers] = [steps[`attention ${which}`], steps[`peers ${which}`]];
    for (const direction of ['forward', 'forwardBackward']) {
      const lazy = ours?.lazy?.[direction]?.medianMs;
      const of = (peer) => ratio(lazy, peers?.[peer]?.[direction]?.medianMs);
      summary[`${which} ${direction}`] = {
        lazyOverFlash: of('sdpaFlash'),
        lazyOverCudnn: of('sdpaCudnn'),
        lazyOverFlex: of('flexWithBias'),
        lazyOverNaive: of('naiveLazy'),
        lazyOverAuthors: of('authors'),
        lazyOverOwnSoftmax: ratio(lazy, ours?.softmax?.[direction]?.medianMs),
      };
    }
  }
  summary.trainingShareOfProductPeak = ratio(steps['train 340m']?.tflops, steps['peers 64']?.product8192?.tflops);
  return JSON.parse(JSON.stringify(summary));
}
