-- A CT series that nothing more comes for goes to Sigap. What Sigap sends back is no CT, so nothing goes round.
-- By a job of its own: SendToModality sends instances alone, and here it would hold Orthanc up.
function OnStableSeries(series, tags, metadata)
   if tags['Modality'] == 'CT' then
      RestApiPost('/modalities/sigap/store', DumpJson({Resources = {series}, Asynchronous = true}, true))
   end
end
