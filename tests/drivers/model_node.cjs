// What a program in JavaScript does with a model, by way of the libraries of OpenAI and Anthropic.

const assert = require('node:assert/strict')
const { OpenAI } = require('openai')
const { Anthropic } = require('@anthropic-ai/sdk')

const root = process.env.API_BASE
const usual = { maxRetries: 0, timeout: 120_000 }
const openai = (apiKey = process.env.API_KEY) => new OpenAI({ baseURL: `${root}/v1`, apiKey, ...usual })
const anthropic = (apiKey = process.env.API_KEY) => new Anthropic({ baseURL: root, apiKey, ...usual })

const asked = {
  model: 'smollm2', messages: [{ role: 'user', content: 'Name three colours.' }], max_tokens: 24, temperature: 0, seed: 7, cache_prompt: false,
}
const form = { type: 'object', properties: { branch: { enum: ['ATL', 'BOS'] } }, required: ['branch'] }
const call = [{ role: 'user', content: 'Call query_bank.' }]

async function chat(client) {
  const whole = await client.chat.completions.create(asked)
  let streamed = ''
  for await (const event of await client.chat.completions.create({ ...asked, stream: true })) {
    streamed += event.choices[0]?.delta?.content ?? ''
  }
  return [whole.choices[0].message.content, streamed]
}

async function calls(client) {
  const tools = [{ type: 'function', function: { name: 'query_bank', parameters: form } }]
  const stream = client.chat.completions.stream({ ...asked, messages: call, max_tokens: 100, tools, tool_choice: 'required' })
  const { message } = (await stream.finalChatCompletion()).choices[0]
  const made = message.tool_calls.map(({ function: { name, arguments: given } }) => [name, JSON.parse(given)])
  const other = await anthropic().messages.stream({
    model: 'smollm2', max_tokens: 100, messages: call, tools: [{ name: 'query_bank', input_schema: form }], tool_choice: { type: 'any' },
    temperature: 0, cache_prompt: false,
  }).finalMessage()
  return made.concat(other.content.filter(({ type }) => type === 'tool_use').map(({ name, input }) => [name, input]))
}

// The model has no choice but to say an address.
async function recited(client) {
  const to = { type: 'string', pattern: '^bob[.]smith@example[.]com$' }
  const schema = { type: 'object', properties: { to }, required: ['to'] }
  const response_format = { type: 'json_schema', json_schema: { name: 'mail', schema } }
  let words = ''
  for await (const event of await client.chat.completions.create({ ...asked, max_tokens: 60, response_format, stream: true })) {
    words += event.choices[0]?.delta?.content ?? ''
  }
  return JSON.parse(words).to
}

async function refused(promise, kind, words) {
  const error = await promise.then(() => assert.fail(`no ${kind.name}`), (error) => error)
  assert.ok(error instanceof kind, `${kind.name}: ${error}`)
  assert.ok(error.message.includes(words), error.message)
}

async function refusals(client) {
  const denied = 'policy does not permit this'
  await refused(client.chat.completions.create({ ...asked, model: 'gpt-expensive' }), OpenAI.PermissionDeniedError, denied)
  await refused(client.chat.completions.create({ ...asked, model: 7 }), OpenAI.BadRequestError, 'model')
  await refused(client.vectorStores.delete('vs_1'), OpenAI.PermissionDeniedError, 'nothing is deleted')
  await refused(openai('sk-of-nobody').models.list(), OpenAI.AuthenticationError, '')
  await refused(client.models.retrieve('nope'), OpenAI.NotFoundError, 'File Not Found')
  const create = (model) => anthropic().messages.create({ model, max_tokens: 9, messages: asked.messages })
  await refused(create('claude-expensive'), Anthropic.PermissionDeniedError, denied)
  await refused(create(7), Anthropic.BadRequestError, 'model')
  await refused(anthropic('sk-of-nobody').models.list(), Anthropic.AuthenticationError, '')
}

async function main() {
  const client = openai()
  const said = { chat: await chat(client), calls: await calls(client) }
  const address = await recited(client)
  if (process.env.API_GUARDED) {
    assert.equal(address, '[email]')
    await refusals(client)
  } else {
    assert.equal(address, 'bob.smith@example.com')
  }
  console.log('ok', JSON.stringify(said))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
