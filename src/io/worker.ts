// Worker threads are named by their file. From the sources that is a .ts file, in a bundle a .js file beside the bundle.
import { extname } from 'node:path'
import { Worker, type WorkerOptions } from 'node:worker_threads'

/** The module `name` in the folder of the module at the URL `from`, with the same ending. */
export const moduleBeside = (name: string, from: string): URL =>
  new URL(`${name}${extname(new URL(from).pathname)}`, from)

/** Starts a thread from the module `name` (without its ending) beside the module at the URL `from`. */
export const startWorker = (name: string, from: string, options: WorkerOptions = {}): Worker =>
  new Worker(moduleBeside(name, from), options)
