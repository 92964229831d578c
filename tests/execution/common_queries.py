"""Common queries: with well-formed upstream data, a plan has to answer each of them."""

COMMON = {
    "one thread": "{ thread(id: 1) { id status messageCount } }",
    "a thread that is not there": "{ thread(id: 9) { id } }",
    "a variable": "query ($id: ID!) { thread(id: $id) { id } }",
    "a variable with a default": "query ($n: Int = 2) { thread(id: 1) { messages(first: $n) { nodes { id } } } }",
    "nested lists": "{ thread(id: 1) { attachments { id attachmentMovements { movements { fileId } total } } } }",
    "the last message": "{ thread(id: 1) { lastMessage { from readByAgents attachments { fileSize } }"
    " reminder { delay } } }",
    "aliases": "{ a: thread(id: 1) { x: id y: id class: tags } b: thread(id: 2) { id } }",
    "merged fields": "{ thread(id: 1) { customers { id } customers { lastName id } } }",
    "one list under two keys": "{ thread(id: 1) { a: customers { id } b: customers { email: contacts } } }",
    "fragments": "{ thread(id: 1) { ...F ... on Thread { tags } } } fragment F on Thread { id customers { ...G } }"
    " fragment G on Customer { id nameVariations { lastName } }",
    "literal conditions": "{ thread(id: 1) { id @skip(if: true) tags @include(if: true) } }",
    "conditions by variable": "query ($yes: Boolean! = true)"
    " { thread(id: 1) { id @skip(if: $yes) tags @include(if: $yes) } }",
    "type names": "{ __typename thread(id: 1) { __typename customers { __typename } } }",
    "the open scalars": "{ thread(id: 1) { status customers { accountType customFields }"
    " lastMessage { delivery origin } } }",
    "a page of messages": "{ thread(id: 1) { messages(first: 3) { edges { cursor node { id } } nodes { from }"
    " pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } } }",
    "a later page": '{ thread(id: 1) { messages(after: "b2Zmc2V0OjE5") { pageInfo { startCursor } } } }',
    "profiles": "{ thread(id: 1) { customers { profile { customer { phone } customFields { name value } } } } }",
    "profiles of profiles": "{ thread(id: 1) { customers { profile { customer { profile {"
    " closedChatCategories { id } } } } } } }",
    "several threads": "{ threads(ids: [1, 2, 9, 1]) { id customers { profile { customFields { id } } } } }",
    "one customer": '{ customer(externalId: "e-1") { id firstName customFields } }',
    "entities": '{ _entities(representations: [{__typename: "Thread", id: 1}, {__typename: "Thread", id: 9},'
    ' {__typename: "Customer", externalId: "e-1"}])'
    " { __typename ... on Thread { id } ... on Customer { externalId profile { __typename } } } }",
    "a named operation": "query Q { thread(id: 1) { id } } query Other { __typename }",
}
