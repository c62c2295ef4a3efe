// The kinds of Calico's IPAM as the Kubernetes API holds them. They are written by the allocator alone, never by users, and
// are no resources of the command line: only their definitions need a schema.
import { z } from 'zod'

const int64 = () => z.int()
const metadata = z.looseObject({})

export type IpamKind = 'IPAMBlock' | 'IPAMHandle' | 'BlockAffinity'

export const IPAM_SCHEMAS: Readonly<Record<IpamKind, { readonly plural: string; readonly schema: z.ZodType }>> = {
  IPAMBlock: {
    plural: 'ipamblocks',
    schema: z.object({
      metadata,
      spec: z.object({
        cidr: z.string(),
        /** `host:<node>`, `virtual:<name>`, or absent: nobody's. */
        affinity: z.string().optional(),
        affinityClaimTime: z.string().optional(),
        /** By ordinal of the address: index into `attributes`, or null. */
        allocations: z.array(z.int().nullable()),
        unallocated: z.array(z.int()),
        attributes: z.array(z.looseObject({ handle_id: z.string().optional() })),
        /** Begins with nanoseconds since 1970: an integer of 64 bits. */
        sequenceNumber: int64().optional(),
        sequenceNumberForAllocation: z.record(z.string(), int64()).optional(),
        deleted: z.boolean().optional(),
        strictAffinity: z.boolean().optional(),
      }),
    }),
  },
  IPAMHandle: {
    plural: 'ipamhandles',
    schema: z.object({
      metadata,
      spec: z.object({
        handleID: z.string(),
        block: z.record(z.string(), z.int()).optional(),
        deleted: z.boolean().optional(),
      }),
    }),
  },
  BlockAffinity: {
    plural: 'blockaffinities',
    schema: z.object({
      metadata,
      spec: z.object({
        state: z.enum(['', 'pending', 'confirmed', 'pendingDeletion']),
        node: z.string(),
        type: z.string().optional(),
        cidr: z.string(),
        deleted: z.boolean().optional(),
      }),
    }),
  },
}
