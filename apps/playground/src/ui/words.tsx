import formulas from 'virtual:formulas';

/** Four short panels: what a sink is, where it comes from, what Elastic-Softmax does, and what is seen above. */
export function Words() {
  return (
    <section class="panel" id="words" aria-labelledby="words-title">
      <h2 id="words-title">What is going on</h2>
      <div class="words">
        <article>
          <h3>A sink</h3>
          <p>
            Attention gives every earlier token a weight, and softmax makes a token's weights sum to one. A head with
            nothing to look for must still look somewhere. It learns to look at a token that is always there and means
            little: the first. That is an attention sink.
          </p>
          <Formula name="softmax" />
        </article>
        <article>
          <h3>Why here</h3>
          <p>
            The task is Bigram-Backcopy: letters follow one another as in Moby Dick, but after <i>t</i>, <i>e</i> or{' '}
            <i>o</i> the letter before it is copied. A head that copies is idle at every other letter. On the left it
            parks its weight on the marker ▸ at the start: the strong first column.
          </p>
        </article>
        <article>
          <h3>Elastic-Softmax</h3>
          <p>
            Lazy Attention adds an offset to every softmax weight and cuts what falls below zero. The offset τ is
            learned per head. A row may now be empty: the head that has nothing to do does nothing. Sand is a weight of
            exactly zero.
          </p>
          <Formula name="elastic" />
        </article>
        <article>
          <h3>And a bias</h3>
          <p>
            Beside RoPE each head learns a bias for every distance, so that looking nearby need not be learned through
            the content. Both are in the scores before softmax.
          </p>
          <Formula name="scores" />
        </article>
      </div>
    </section>
  );
}

/** MathML, made by KaTeX when the page was built. */
function Formula({ name }: { readonly name: keyof typeof formulas }) {
  return <div class="formula" dangerouslySetInnerHTML={{ __html: formulas[name] }} />;
}
