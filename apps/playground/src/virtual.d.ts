/** Formulas as MathML, made by KaTeX at build time. */
declare module 'virtual:formulas' {
  const formulas: { readonly softmax: string; readonly elastic: string; readonly scores: string };
  export default formulas;
}

/** Every kind of attention as the page shows it; the worker has what they compute. */
declare module 'virtual:kinds' {
  const kinds: readonly {
    readonly name: string;
    readonly label: string;
    readonly color: { readonly light: string; readonly dark: string };
  }[];
  export default kinds;
}
