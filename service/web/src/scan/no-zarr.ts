/** Stands where NiiVue imports zarrita: nothing here ever asks for a chunked volume. */
const refuse = (): never => {
  throw new Error("chunked volumes are not built in");
};

export const root = refuse;
export const open = refuse;
export const get = refuse;
export const FetchStore = refuse;
export const slice = refuse;
