// The memory store passes what every store passes.
import { storeConformance } from './conformance.ts'
import { openMemory } from './memory.ts'

storeConformance('memory', () => ({ store: openMemory(), done: () => {} }))
