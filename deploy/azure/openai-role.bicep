// Lets the bot's identity call the model; a module of foundation.bicep, since the model may be in another resource group.
targetScope = 'resourceGroup'

param account string
param principalId string

// Cognitive Services OpenAI User: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var openAiUser = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd')

resource model 'Microsoft.CognitiveServices/accounts@2025-06-01' existing = {
  name: account
}

resource callsModel 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(model.id, principalId, openAiUser)
  scope: model
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: openAiUser
  }
}
