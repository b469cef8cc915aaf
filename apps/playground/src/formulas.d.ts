/** Formulas as MathML, made by KaTeX at build time. */
declare module 'virtual:formulas' {
  const formulas: { readonly softmax: string; readonly elastic: string; readonly scores: string };
  export default formulas;
}
