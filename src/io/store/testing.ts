// What tests of more than one folder do to a store.
import type { Store } from './store.ts'

/** The store's methods as an object, of which a test may replace some; a class's own are not spread. */
export const wrap = (store: Store): Store => ({
  get: key => store.get(key),
  list: prefix => store.list(prefix),
  put: (...args) => store.put(...args),
  delete: (...args) => store.delete(...args),
  watch: (...args) => store.watch(...args),
  compact: revision => store.compact(revision),
  close: () => store.close(),
})
