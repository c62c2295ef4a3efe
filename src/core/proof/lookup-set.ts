// A set as a function of a key: a tree of the key's parts, one level for each, built as far as it is asked. A level is a
// hash where its parts are points, and a sorted cut of the axis where they are ranges. An answer is a node, so that a
// question about one part splits a box into as few pieces as there are different remainders.
import type { ElementModel, SetModel } from './model.ts'
import { type Prim, prim } from './raw.ts'

let nodes = 0

export class SetNode {
  readonly id = ++nodes
  readonly #elements: readonly ElementModel[]
  readonly #sizes: readonly number[]
  readonly #level: number
  readonly #offset: number
  #points: Map<Prim, ElementModel[]> | undefined
  #starts: Prim[] | undefined
  #pieces: (readonly ElementModel[])[] = []
  readonly #children = new Map<unknown, SetNode | undefined>()

  constructor(elements: readonly ElementModel[], sizes: readonly number[], level = 0, offset = 0) {
    this.#elements = elements
    this.#sizes = sizes
    this.#level = level
    this.#offset = offset
  }

  /** At the last level. */
  get element(): ElementModel {
    return this.#elements[0]!
  }

  get isEmpty(): boolean {
    return this.#elements.length === 0
  }

  /** What is left of the set once the next part has this value; undefined when no element has it. */
  child(v: Prim): SetNode | undefined {
    if (!this.#points && !this.#starts) this.#index()
    if (this.#points) {
      const known = this.#children.get(v)
      if (known) return known
      const found = this.#points.get(v)
      return found && this.#node(v, found)
    }
    const starts = this.#starts!
    let low = -1
    for (let high = starts.length - 1; low < high; ) {
      const mid = (low + high + 1) >> 1
      if (starts[mid]! <= v) low = mid
      else high = mid - 1
    }
    const found = this.#pieces[low]
    return low < 0 || found!.length === 0 ? undefined : (this.#children.get(low) ?? this.#node(low, found!))
  }

  #node(key: unknown, elements: readonly ElementModel[]): SetNode {
    const node = new SetNode(elements, this.#sizes, this.#level + 1, this.#offset + this.#sizes[this.#level]!)
    this.#children.set(key, node)
    return node
  }

  #index(): void {
    const [from, to] = [this.#offset, this.#offset + this.#sizes[this.#level]!]
    const ranges = this.#elements.map(element => ({
      element,
      low: prim(element.key, from, to),
      high: element.keyEnd === element.key ? undefined : prim(element.keyEnd, from, to),
    }))
    if (ranges.every(r => r.high === undefined || r.high === r.low)) {
      this.#points = new Map()
      for (const { element, low } of ranges) {
        const found = this.#points.get(low)
        if (found) found.push(element)
        else this.#points.set(low, [element])
      }
      return
    }
    const edges = new Map<Prim, { enter: ElementModel[]; leave: ElementModel[] }>()
    const edge = (at: Prim) => {
      const found = edges.get(at) ?? { enter: [], leave: [] }
      edges.set(at, found)
      return found
    }
    for (const { element, low, high = low } of ranges) {
      edge(low).enter.push(element)
      edge(next(high)).leave.push(element)
    }
    this.#starts = [...edges.keys()].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
    const inside = new Set<ElementModel>()
    this.#pieces = this.#starts.map(at => {
      const { enter, leave } = edges.get(at)!
      for (const e of leave) inside.delete(e)
      for (const e of enter) inside.add(e)
      return [...inside]
    })
  }
}

export const next = (v: Prim): Prim => (typeof v === 'number' ? v + 1 : v + 1n)

export class LookupSet {
  readonly model: SetModel
  /** `table set`. */
  readonly name: string
  readonly #roots = new Map<string, SetNode>()

  constructor(table: string, model: SetModel) {
    this.model = model
    this.name = `${table} ${model.name}`
  }

  /** The tree for keys that fall into parts of these sizes. */
  root(sizes: readonly number[]): SetNode {
    const key = sizes.join()
    let root = this.#roots.get(key)
    if (!root) {
      root = new SetNode(this.model.elements, sizes)
      this.#roots.set(key, root)
    }
    return root
  }
}
