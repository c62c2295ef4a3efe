// The small singletons: ClusterInformation and IPAMConfiguration.
import { z } from 'zod'
import { text } from '../field.ts'
import { calicoKind } from '../kind.ts'
import { calicoHead } from '../metadata.ts'

export const clusterInformation = calicoKind({
  kind: 'ClusterInformation',
  plural: 'clusterinformations',
  namespaced: false,
  aliases: ['clusterinfo', 'clusterinfos'],
  singleton: 'default',
  schema: z.strictObject({
    ...calicoHead('ClusterInformation'),
    spec: z
      .strictObject({
        /** 32 hex digits, made once. */
        clusterGUID: text(),
        /** Comma-separated list. */
        clusterType: text(),
        calicoVersion: text(),
        /** False locks the datastore: agents and CNI wait. */
        datastoreReady: z.boolean().optional(),
        variant: text(),
      })
      .prefault({}),
  }),
})

export const ipamConfiguration = calicoKind({
  kind: 'IPAMConfiguration',
  plural: 'ipamconfigurations',
  namespaced: false,
  aliases: ['ipamconfig', 'ipamconfigs'],
  singleton: 'default',
  schema: z.strictObject({
    ...calicoHead('IPAMConfiguration'),
    spec: z
      .strictObject({
        /** Nodes never take single addresses from each other's blocks. */
        strictAffinity: z.boolean().default(false),
        /** 0 means the safety limit of 20 blocks a family. */
        maxBlocksPerHost: z
          .int()
          .min(0)
          .max(1_000_000)
          .transform(value => value || undefined)
          .optional(),
        autoAllocateBlocks: z.boolean().default(true),
        kubeVirtVMAddressPersistence: z.enum(['Enabled', 'Disabled']).optional(),
        ipCooldownSeconds: z
          .int()
          .min(0)
          .max(1200)
          .transform(value => value || undefined)
          .optional(),
      })
      .prefault({}),
  }),
  check: ({ spec }) =>
    spec.strictAffinity || spec.autoAllocateBlocks
      ? []
      : [
          {
            path: 'spec.autoAllocateBlocks',
            message: 'must be true unless strictAffinity is true',
            fix: 'set autoAllocateBlocks: true or strictAffinity: true',
          },
        ],
})
