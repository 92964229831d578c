// A value that components watch.
import { useSyncExternalStore } from 'react';

/** Return a store: `get` and `set` its value, and `use` it in a component. */
export function createStore(value) {
  const listeners = new Set();
  const get = () => value;

  function subscribe(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  function set(changed) {
    value = changed;
    for (const listener of listeners) listener();
  }

  return { get, set, use: () => useSyncExternalStore(subscribe, get) };
}
