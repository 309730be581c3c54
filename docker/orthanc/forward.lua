-- A CT series that nothing more comes for goes to Sigap. What Sigap sends back is no CT, so nothing goes round.
function OnStableSeries(series, tags, metadata)
   if tags['Modality'] == 'CT' then
      SendToModality(series, 'sigap')
   end
end
