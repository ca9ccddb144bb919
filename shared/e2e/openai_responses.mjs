// Uses the unmodified OpenAI SDK for Node against OPENAI_BASE_URL for responses of the model
// named in the first argument: whole, streamed, with a function that it calls, left in the
// middle, and wrong. ENDLESS_MODEL names one that never stops by itself.
import OpenAI from 'openai';

const client = new OpenAI({ maxRetries: 0 });
const [model] = process.argv.slice(2);

const response = await client.responses.create({
	model,
	input: 'hello',
	instructions: 'be kind',
	metadata: { a: 'b' }
});
console.log(
	`response: ${response.status} ${response.store} ${response.metadata.a} ${response.output_text}`
);
const { input_tokens, output_tokens, total_tokens } = response.usage;
console.log(
	`usage: ${input_tokens > 0 && output_tokens > 0 && total_tokens === input_tokens + output_tokens}`
);

let [text, number, inOrder, last] = ['', 0, true];
const kinds = [];
for await (const event of await client.responses.create({ model, input: 'hello', stream: true })) {
	inOrder &&= event.sequence_number === number++;
	if (event.type === 'response.output_text.delta') {
		text += event.delta;
	}
	if (kinds.at(-1) !== event.type) {
		kinds.push(event.type);
	}
	last = event.response;
}
console.log(`events: ${inOrder} ${kinds.map((kind) => kind.replace('response.', '')).join(' ')}`);
console.log(`streamed: ${last.usage.output_tokens > 0} ${text}`);

const cut = await client.responses.create({ model, input: 'hello', max_output_tokens: 2 });
console.log(`cut: ${cut.status} ${cut.incomplete_details.reason}`);

const tools = [
	{
		type: 'function',
		name: 'machine',
		description: 'tells about the machine',
		parameters: { type: 'object', properties: {}, additionalProperties: false },
		strict: true
	}
];
for (const streamed of [false, true]) {
	const ask = (input) =>
		streamed
			? client.responses.stream({ model, input, tools }).finalResponse()
			: client.responses.create({ model, input, tools });
	const input = [{ role: 'user', content: [{ type: 'input_text', text: 'where are you?' }] }];
	const first = await ask(input);
	const [call] = first.output;
	input.push(...first.output, {
		type: 'function_call_output',
		call_id: call.call_id,
		output: '{"node":"attic"}'
	});
	const second = await ask(input);
	console.log(
		`tool: ${call.type} ${call.name} ${call.arguments} ${second.output[0].content[0].text}`
	);
}

const left = await client.responses.create({
	model: process.env.ENDLESS_MODEL,
	input: 'go',
	stream: true
});
for await (const event of left) {
	if (event.type === 'response.output_text.delta') {
		break;
	}
}
console.log(`left: ${left.controller.signal.aborted}`);

for (const wrong of [
	() => client.responses.create({ model, input: 'x', previous_response_id: response.id }),
	() => client.responses.create({ model, input: 'x', tools: [{ type: 'web_search' }] }),
	() => client.responses.create({ model: 'nope', input: 'x' }),
	() => client.responses.retrieve(response.id)
]) {
	try {
		await wrong();
	} catch (error) {
		console.log(`error: ${error.status} ${error.code} ${error.param}`);
	}
}
