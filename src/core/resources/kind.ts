// What a kind is: its names, its schema, and the rules that hold between its fields.
import type { z } from 'zod'
import type { Problem } from '../base/problem.ts'
import type { NameRule } from './metadata.ts'

export type DeepReadonly<T> = T extends string | number | boolean | undefined | null
  ? T
  : T extends readonly (infer E)[]
    ? readonly DeepReadonly<E>[]
    : { readonly [K in keyof T]: DeepReadonly<T[K]> }

/** Facts about a kind that do not need its schema. */
export type KindInfo = {
  readonly kind: string
  readonly apiVersion: string
  /** Its kind in documents, where that is another: Kubernetes' NetworkPolicy is no NetworkPolicy of Calico. */
  readonly documentKind?: string
  /** Lower-case plural, as in keys and URLs. */
  readonly plural: string
  readonly namespaced: boolean
  /** Other names that people type, lower case; the kind's own name and plural are always accepted. */
  readonly aliases: readonly string[]
  /** Its keys in the datastore begin with this; ends with a slash. */
  readonly storePrefix: string
  readonly nameRule: NameRule
  /** The only name that a resource of this kind may have. */
  readonly singleton?: string
}

export type KindDefinition<S extends z.ZodType> = KindInfo & {
  readonly schema: S
  /** Rules between fields; called with a value that the schema accepted. */
  readonly check?: (resource: DeepReadonly<z.output<S>>) => readonly Problem[]
  /** How a document is judged that a user writes, where what is stored must be taken more tolerantly. */
  readonly written?: {
    readonly schema: z.ZodType
    readonly check: (resource: DeepReadonly<z.output<S>>) => readonly Problem[]
  }
}

type CalicoKind<S extends z.ZodType> = Omit<KindDefinition<S>, 'apiVersion' | 'storePrefix' | 'nameRule'> & {
  readonly nameRule?: NameRule
}

export const calicoKind = <S extends z.ZodType>(kind: CalicoKind<S>): KindDefinition<S> => ({
  nameRule: 'subdomain',
  apiVersion: 'projectcalico.org/v3',
  storePrefix: `/calico/resources/v3/projectcalico.org/${kind.plural}/`,
  ...kind,
})

type KubernetesKind<S extends z.ZodType> = CalicoKind<S> & {
  readonly apiVersion?: string
  readonly storePrefix?: string
}

export const kubernetesKind = <S extends z.ZodType>(kind: KubernetesKind<S>): KindDefinition<S> => ({
  nameRule: 'subdomain',
  apiVersion: 'v1',
  storePrefix: `/registry/${kind.plural}/`,
  ...kind,
})
