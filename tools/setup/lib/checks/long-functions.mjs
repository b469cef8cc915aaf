/** Functions that are longer than a screen, each with the reason why it is not divided. */
export const REASONS = {};
