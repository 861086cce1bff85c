import { z } from 'zod'

export type JsonObject = { readonly [key: string]: unknown }

export const schemaRef = (name: string): JsonObject => ({ $ref: `#/components/schemas/${name}` })

/**
 * Zod schemas as a document's `components.schemas`; one that contains another refers to it. Objects that the service sends
 * allow more properties, so that clients which validate accept a new field.
 *
 * @param target OpenAPI 3.1 uses JSON Schema 2020-12, AsyncAPI 3.0 uses draft 7
 */
export function componentSchemas(
  schemas: Readonly<Record<string, z.ZodType>>,
  target: 'draft-2020-12' | 'draft-7',
): JsonObject {
  const registry = z.registry<{ id: string }>()
  for (const [id, schema] of Object.entries(schemas)) registry.add(schema, { id })
  const generated = z.toJSONSchema(registry, {
    io: 'input',
    target,
    uri: (id) => `#/components/schemas/${id}`,
  })
  return Object.fromEntries(
    // An $id would make the references inside relative to it.
    Object.entries(generated.schemas).map(([id, { $id: _id, $schema: _dialect, ...schema }]) => [id, schema]),
  )
}
